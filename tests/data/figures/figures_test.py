"""Figures: keypoints on the body, left and right, files that repeat."""

import numpy as np
import pytest

from fskd_jax.cli import main
from fskd_jax.data import annotations
from fskd_jax.data.creatures import render
from fskd_jax.data.creatures.skeleton import Builder
from fskd_jax.data.figures import dataset, face, person
from fskd_jax.data.sides import mirror_name

KINDS = list(dataset.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_lie_on_the_figure(kind):
  seen = np.zeros(len(dataset.KINDS[kind].KEYPOINTS), int)
  for i in range(25):
    picture = dataset.draw(kind, [5, i])
    left, top, width, height = picture.box
    seen_points = picture.keypoints[picture.visible]
    assert (seen_points >= (left - 4, top - 4)).all()
    assert (seen_points <= (left + width + 3, top + height + 3)).all()
    assert picture.image.shape == (render.DRAWN, render.DRAWN, 3)
    seen += picture.visible
  assert (seen > 0).all()  # every keypoint is seen from somewhere


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_sides_come_in_pairs(kind):
  names = dataset.KINDS[kind].KEYPOINTS
  assert len(set(names)) == len(names)
  assert {mirror_name(name) for name in names} == set(names)


@pytest.mark.parametrize("module", [person, face])
def test_the_right_side_is_on_the_left_of_who_faces_the_viewer(module):
  for seed in range(10):
    build = Builder()
    rng = np.random.default_rng(seed)
    module.pose(build, rng)
    body, _ = render.fit(build.body(module.KEYPOINTS), render.camera(-90, 0, 0), rng)
    at = dict(zip(module.KEYPOINTS, body.keypoints))
    ears = at["left ear"][0] - at["right ear"][0]
    turned = at["nose" if module is person else "nose tip"][2]
    if turned > max(at["left ear"][2], at["right ear"][2]):  # looks at the viewer
      assert ears > 0


def test_the_folder_is_one_that_trainings_read(tmp_path, capsys):
  command = ["data", "figures", "--per-kind", "2", "--out", str(tmp_path / "out")]
  assert main.main(command) == 0
  assert "10 pictures of person, hand, face, insect, fish" in capsys.readouterr().out
  assert len(annotations.read_coco(tmp_path / "out").instances) == 10
  command[-1] = str(tmp_path / "again")
  assert main.main(command) == 0
  for path in (tmp_path / "out").rglob("*.j*"):
    again = tmp_path / "again" / path.relative_to(tmp_path / "out")
    assert path.read_bytes() == again.read_bytes()
  assert main.main(command) == 2
  assert "exists; name a new folder" in capsys.readouterr().err
