"""Files of detected boxes."""

import json
import pathlib

import numpy as np
import pytest
from helpers import shapes

from fskd_jax.pose.detections import read_detections

VOCABULARY = tuple(shapes.COLORS)


@pytest.fixture
def read(shapes_folder, tmp_path):
  def run(entries, image_names=None):
    path = tmp_path / "boxes.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return read_detections(path, pathlib.Path(shapes_folder), VOCABULARY, image_names)

  return run


def _box(image_id, category_id=0, box=(3.0, 4.0, 20.0, 30.0), score=0.5):
  return {
    "image_id": image_id,
    "category_id": category_id,
    "bbox": list(box),
    "score": score,
  }


def test_boxes_become_instances_of_their_images(read, shapes_folder):
  found = read([_box(7, score=0.25), _box(2, category_id=3), _box(7, score=0.75)])
  assert found.image_ids.tolist() == [2, 7, 7]
  assert found.scores.tolist() == [0.5, 0.25, 0.75]
  assert found.category_ids.tolist() == [3, 0, 0]
  dataset = found.dataset
  for number, instance in enumerate(dataset.instances):
    assert instance.instance_id == number and instance.box == (3, 4, 20, 30)
    name = dataset.image_names[instance.image]
    assert name == f"{found.image_ids[number]:03d}.png"
    expected = (pathlib.Path(shapes_folder) / "images" / name).read_bytes()
    assert dataset.read_image(instance.image) == expected
    assert not instance.visible.any() and instance.keypoints.shape == (5, 2)
  assert dataset.instances[0].species == "crate"


def test_what_is_not_wanted_is_left_out(read):
  entries = [_box(1), _box(2), _box(1, category_id=77), _box(1, box=(1, 1, 0, 5))]
  assert read(entries, {"001.png"}).image_ids.tolist() == [1]
  with pytest.raises(ValueError, match="none of its 4 boxes"):
    read(entries, {"003.png"})


FAULTS = {
  "no JSON": ("[", "not valid JSON"),
  "no list": ({"a": 1}, "expected a list"),
  "no score": (
    [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    "detection 0",
  ),
  "image": ([_box(1), _box(999)], "detection 1: image_id is 999"),
  "box": ([_box(1, box=(1, 2, 3))], r"bbox is \[1, 2, 3\]"),
  "number": ([_box(1, score=np.nan)], "must be finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_one_clear_error(read, fault):
  entries, message = FAULTS[fault]
  with pytest.raises(ValueError, match=message):
    read(entries)


def test_a_missing_file_is_named(shapes_folder):
  with pytest.raises(FileNotFoundError, match="nowhere.json"):
    read_detections("nowhere.json", pathlib.Path(shapes_folder), VOCABULARY)
