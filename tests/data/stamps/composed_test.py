"""Composed stamps: keypoints stay on what they mark, and files are reproducible."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fskd_jax.cli import main
from fskd_jax.data import annotations
from fskd_jax.data.sides import mirror_name
from fskd_jax.data.stamps import compose, dataset, labels

INSTALLED = pathlib.Path("/usr/share/tuxpaint/stamps")


def _stamp(size=(90, 60)):
  """A green ellipse with a red and a blue dot, and where they are."""
  stamp = Image.new("RGBA", size)
  draw = ImageDraw.Draw(stamp)
  draw.ellipse((4, 4, size[0] - 5, size[1] - 5), fill=(40, 160, 60, 255))
  points = np.array([[20.0, 30.0], [66.0, 28.0]])
  for (x, y), color in zip(points, ((255, 0, 0, 255), (0, 0, 255, 255))):
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
  return stamp, points


@pytest.fixture
def source(tmp_path, monkeypatch):
  """A folder of stamps, two of which are marked."""
  root = tmp_path / "stamps"
  (root / "animals").mkdir(parents=True)
  (root / "tools").mkdir()
  (root / "flags").mkdir()
  stamp, points = _stamp()
  for name in ("animals/cat.png", "animals/owl.png", "tools/saw.png", "flags/red.png"):
    stamp.save(root / name)
  stamp.resize((30, 20)).save(root / "tools" / "tiny.png")
  eyes = dict(zip(("left eye", "right eye"), map(tuple, points)))
  marked = [
    labels.Marked("animals/cat.png", "quadruped", eyes),
    labels.Marked("animals/owl.png", "bird", {"beak": (43.0, 30.0)} | eyes),
  ]
  monkeypatch.setattr(labels, "read", lambda: marked)
  return tmp_path / "stamps"


def test_keypoints_lie_on_the_dots_they_mark(monkeypatch):
  stamp, points = _stamp()
  monkeypatch.setattr(compose, "_lit", lambda drawn, rng: drawn)
  grey = np.full((compose.SIDE, compose.SIDE, 3), 128, np.uint8)
  monkeypatch.setattr(compose, "_background", lambda rng: grey)
  checked = 0
  for seed in range(40):
    picture = compose.compose(stamp, points, np.random.default_rng(seed))
    red, _, blue = np.moveaxis(picture.image.astype(int) - 128, -1, 0)
    for xy, dot, seen in zip(
      picture.keypoints, (red - blue, blue - red), picture.visible
    ):
      if not seen or dot.max() < 150:  # covered in part, or blurred
        continue
      rows, columns = np.nonzero(dot > 100)
      middle = np.array([columns.mean(), rows.mean()])
      assert np.linalg.norm(middle - xy) < 1.5
      checked += 1
    left, top, width, height = picture.box
    green = (np.abs(picture.image.astype(int) - (40, 160, 60)) < 40).all(-1)
    rows, columns = np.nonzero(green)
    if len(rows):
      assert columns.min() >= left - 2 and columns.max() <= left + width + 1
      assert rows.min() >= top - 2 and rows.max() <= top + height + 1
  assert checked > 40


def test_pictures_differ_by_seed_and_are_repeated_by_it():
  stamp, points = _stamp()
  one, again, other = (
    compose.compose(stamp, points, np.random.default_rng(seed)) for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(one.image, again.image)
  np.testing.assert_array_equal(one.keypoints, again.keypoints)
  assert (one.image != other.image).any()


def test_the_folder_is_one_that_trainings_read(source, tmp_path):
  out = tmp_path / "out"
  counts = dataset.write_stamps(source, out, per_animal=3, per_object=2)
  assert counts == (6, 2)  # neither the flag nor the tiny one
  found = annotations.read_coco(out / "animals")
  content = json.loads((out / "animals" / "annotations.json").read_text())
  assert {x["name"]: x["keypoints"] for x in content["categories"]} == {
    "bird": ["beak", "left eye", "right eye"],
    "quadruped": ["left eye", "right eye"],
  }
  assert len(found.instances) == 6
  assert sorted(x.name for x in (out / "objects").iterdir()) == [
    "tools-saw_00.jpg", "tools-saw_01.jpg",
  ]  # fmt: skip
  dataset.write_stamps(source, tmp_path / "again", per_animal=3, per_object=2)
  for path in out.rglob("*.j*"):
    again = tmp_path / "again" / path.relative_to(out)
    assert path.read_bytes() == again.read_bytes()


def test_what_is_missing_is_named(source, tmp_path, capsys):
  command = ["data", "stamps", "--source", str(source), "--out", str(tmp_path / "out")]
  (source / "animals" / "owl.png").unlink()
  assert main.main(command) == 2
  assert "1 of 2 stamps with keypoints are missing: animals/owl.png" in (
    capsys.readouterr().err
  )
  assert not (tmp_path / "out").exists()
  command[3] = str(tmp_path / "nowhere")
  assert main.main(command) == 2
  assert "apt-get install tuxpaint-stamps-default" in capsys.readouterr().err
  (tmp_path / "out").mkdir()
  command[3] = str(source)
  assert main.main(command) == 2
  assert "exists; name a new folder" in capsys.readouterr().err


def test_labels_name_sides_in_pairs_and_no_keypoint_twice():
  stamps = labels.read()
  assert len(stamps) == 116 and sum(len(x.keypoints) for x in stamps) == 939
  for names in labels.names(stamps).values():
    sided = [name for name in names if "left" in name or "right" in name]
    assert sided and {mirror_name(name) for name in sided} == set(sided)
    assert len(names) == len(set(names))


@pytest.mark.skipif(
  not INSTALLED.is_dir(), reason="needs Debian's tuxpaint-stamps-default"
)
def test_labels_lie_on_their_stamps():
  for stamp in labels.read():
    with Image.open(INSTALLED / stamp.file) as image:
      points = np.array(list(stamp.keypoints.values()))
      assert (points >= 0).all() and (points < image.size).all(), stamp.file
