"""Plain JSON of several images; that of one is tested with prediction's files."""

import json

import pytest

from fskd_jax.data.labels import kinds
from fskd_jax.data.labels.schema import Keypoint, keypoint_names

IMAGES = {
  "clip/a.png": {"nose": [1, 2.5], "tail": None},
  "b.JPG": [
    {"keypoints": {"nose": [3, 4, 2]}, "box": [0, 1, 8, 9], "skeleton": []},
    {"keypoints": {"nose": [5, 6], "tail": [7, 8]}, "skeleton": [["nose", "tail"]]},
  ],
  "c.png": [],
}


def _read(tmp_path, content):
  path = tmp_path / "points.json"
  path.write_text(json.dumps(content))
  return kinds.of(path).read(path, None)


def test_every_image_has_its_objects(tmp_path):
  labels = _read(tmp_path, IMAGES)
  first, second, third = labels.images
  assert [i.name for i in labels.images] == [*IMAGES] and not third.objects
  assert [o.keypoints for o in first.objects] == [{"nose": Keypoint(1, 2.5)}]
  assert [o.box for o in second.objects] == [(0, 1, 8, 9), None]
  assert second.objects[1].keypoints == {"nose": Keypoint(5, 6), "tail": Keypoint(7, 8)}
  assert keypoint_names(labels) == ("nose", "tail")
  assert labels.categories[""].skeleton == (("nose", "tail"),)


@pytest.mark.parametrize(
  ("content", "problem"),
  [
    ({"a.png": {"nose": [1]}}, r"image 'a.png': 'nose' is \[1\], expected \[x, y\]"),
    ({"a.png": [[1, 2]]}, r"image 'a.png': expected \{name: \[x, y\]\}, got \[1, 2\]"),
    ({"a.png": {"nose": {"x": 1, "y": 2}}}, "image 'a.png': expected {name"),
    ({"nose": {"a.png": [1, 2]}}, "JSON of no known format"),
  ],
)
def test_what_is_wrong_is_told_with_its_image(content, problem, tmp_path):
  with pytest.raises(ValueError, match=problem):
    _read(tmp_path, content)
