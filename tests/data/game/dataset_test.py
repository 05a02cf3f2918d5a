"""The data set of rendered models: a folder that trainings read, the same by seed."""

import json
import pathlib

import numpy as np
import pytest

from fskd_jax.cli import main
from fskd_jax.data import annotations
from fskd_jax.data.game import categories, dataset, people, posing, quadrupeds
from fskd_jax.data.game.archive import Archive
from fskd_jax.data.sides import mirror_name
from tests.helpers import small_game

INSTALLED = pathlib.Path("/usr/share/games/0ad/mods/public/public.zip")
COUNTS = {"per_model": 2, "per_thing": 2, "things": 5, "per_kind": 3}


def test_the_folder_is_one_that_trainings_read(tmp_path):
  source = small_game.write(tmp_path / "public.zip")
  out = tmp_path / "out"
  assert dataset.write_game(source, out, **COUNTS) == (4, 3)
  found = annotations.read_coco(out / dataset.MODELS)
  assert len(found.instances) == 4
  content = json.loads((out / "models" / "annotations.json").read_text())
  assert [x["name"] for x in content["categories"]] == ["sheep", "structural house"]
  kinds = json.loads((out / "kinds" / "annotations.json").read_text())
  assert [x["name"] for x in kinds["categories"]] == ["quadruped"]
  assert kinds["categories"][0]["keypoints"] == list(quadrupeds.KEYPOINTS)
  assert any(x["num_keypoints"] >= 5 for x in kinds["annotations"])
  dataset.write_game(source, tmp_path / "again", **COUNTS)
  dataset.write_game(source, tmp_path / "other", seed=1, **COUNTS)
  for path in out.rglob("*.j*"):
    again, other = (tmp_path / x / path.relative_to(out) for x in ("again", "other"))
    assert path.read_bytes() == again.read_bytes()
    assert path.read_bytes() != other.read_bytes()


def test_what_is_missing_is_named(tmp_path, capsys):
  command = ["data", "game", "--out", str(tmp_path), "--source"]
  assert main.main([*command, str(tmp_path / "nowhere.zip")]) == 2
  assert "apt-get install 0ad-data" in capsys.readouterr().err
  small_game.write(tmp_path / "public.zip")
  assert main.main([*command, str(tmp_path / "public.zip")]) == 2
  assert "exists; name a new folder" in capsys.readouterr().err


def test_keypoints_of_kinds_have_their_mirror_images():
  for names in (quadrupeds.KEYPOINTS, people.KEYPOINTS):
    assert len(set(names)) == len(names)
    assert {mirror_name(name) for name in names} == set(names)


@pytest.mark.skipif(
  not INSTALLED.is_file(), reason="the game's data (0ad-data) are not installed"
)
def test_the_table_of_skeletons_fits_the_game():
  archive = Archive(INSTALLED)
  for name, skeleton in quadrupeds.MODELS.items():
    model = archive.model(f"skeletal/{name}.dae")
    bones = categories.bones_of(archive, skeleton)
    assert len(bones) >= len(model.rest), name
    found = quadrupeds.find(model, quadrupeds.table(skeleton), bones)
    assert set(found.names) >= {"nose", "left front paw", "right rear paw"}, name
    posed = posing.Posed(name, [_still(model)], model.rest)
    where = dict(zip(found.names, found.places(posed)))
    facing = where["left front paw"][2] < where["left rear paw"][2]
    for keypoint, place in where.items():
      if keypoint.startswith("left"):
        assert (place[0] > 0) == facing, (name, keypoint)


def _still(model):
  points, normals = model.points, model.normals
  texture = np.zeros((1, 1, 4), np.uint8)
  return posing.Part(points, normals, model.places, model.faces, texture, False, False)
