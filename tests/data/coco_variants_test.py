"""COCO as tools write it: each file means the same as the plain one."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from fskd_jax.data import annotations, coco_file
from fskd_jax.data.labels import coco

PLAIN = {
  "images": [{"id": 1, "file_name": "a/b.png", "width": 64, "height": 48}],
  "annotations": [
    {
      "id": 1,
      "image_id": 1,
      "category_id": 1,
      "bbox": [10, 10, 30, 20],
      "keypoints": [12, 14, 2, 30, 22, 1, 0, 0, 0],
    }
  ],
  "categories": [
    {"id": 1, "name": "cat", "keypoints": ["nose", "tail", "paw"], "skeleton": [[1, 2]]}
  ],
}


def _changed(change):
  content = copy.deepcopy(PLAIN)
  change(content)
  return content


def _of(kind, **values):
  def change(content):
    content[kind][0].update(values)

  return change


def _add(kind, **values):
  return lambda content: content[kind].insert(0, values)


def _text_ids(content):
  content["images"][0]["id"] = "some image"
  content["categories"][0]["id"] = content["annotations"][0]["category_id"] = "c"
  content["annotations"][0] |= {"id": "x", "image_id": "some image"}


def _negative_ids(content):
  content["images"][0]["id"] = content["annotations"][0]["image_id"] = -7
  content["annotations"][0]["category_id"] = "1"


def _no_ids(content):
  del content["annotations"][0]["id"]


def _no_size(content):
  del content["images"][0]["width"], content["images"][0]["height"]


def _roboflow(content):
  content["categories"][0]["name"] = "goal"
  content["categories"].insert(0, {"id": 0, "name": "goal", "supercategory": "none"})


def _box_label(content):
  """CVAT: a label of boxes beside that of skeletons."""
  content["categories"].append({"id": 2, "name": "box", "keypoints": []})
  box = {"id": 5, "image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9]}
  content["annotations"] += [box, {**box, "id": 6, "keypoints": [0, 0, 0]}]


SAME = {
  "texts as ids": _text_ids,
  "negative ids": _negative_ids,
  "annotations without ids": _no_ids,
  "sizes left out": _no_size,
  "backslashes": _of("images", file_name="a\\b.png"),
  "parent folder": _of("images", file_name="../a/b.png"),
  "triples": _of("annotations", keypoints=[[12, 14, 2], [30, 22, 1], [0, 0, 0]]),
  "null triples": _of("annotations", keypoints=[[12, 14, 2], [30, 22, 1], None]),
  "nulls": _of("annotations", keypoints=[12, 14, 2, 30, 22, 1, None, None, 0]),
  "floats": _of("annotations", keypoints=[12, 14, 2.0, 30.0, 22, 1.0, 0, 0, 0.0]),
  "names in a skeleton": _of("categories", skeleton=[["nose", "tail"]]),
  "skeleton out of range": _of("categories", skeleton=[[1, 2], [2, 4], [9, 1], 5]),
  "skeleton from 0": _of("categories", skeleton=[[0, 1]]),
  "roboflow": _roboflow,
  "label of boxes": _box_label,
  "annotation without keypoints": _add(
    "annotations", id=2, image_id=1, category_id=1, bbox=[1, 1, 5, 5]
  ),
}


def _folder(tmp_path, content):
  path = tmp_path / "images" / "a" / "b.png"
  if not path.exists():
    path.parent.mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(path)
  (tmp_path / "annotations.json").write_text(json.dumps(content))
  return tmp_path


def _is_equal(one, other):
  assert one.keypoint_names == other.keypoint_names
  assert one.skeleton == other.skeleton and one.image_names == other.image_names
  assert len(one.instances) == len(other.instances)
  for a, b in zip(one.instances, other.instances):
    assert a.box == b.box and a.image == b.image
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    np.testing.assert_array_equal(a.visible, b.visible)


@pytest.mark.parametrize("kind", SAME)
def test_a_variant_is_read_as_the_plain_file(tmp_path, kind):
  folder = _folder(tmp_path, PLAIN)
  plain, labels = annotations.read_coco(folder), coco.read(folder / "annotations.json")
  _folder(tmp_path, _changed(SAME[kind]))
  _is_equal(annotations.read_coco(folder), plain)
  found = coco.read(folder / "annotations.json")
  assert [image._replace(objects=()) for image in found.images] == [
    image._replace(objects=()) for image in labels.images
  ]
  assert found.images[0].objects[0].keypoints == labels.images[0].objects[0].keypoints


def test_a_mark_before_the_first_byte_is_no_content(tmp_path):
  folder = _folder(tmp_path, PLAIN)
  plain = annotations.read_coco(folder)
  for encoding in ("utf-8-sig", "utf-16"):
    (folder / "annotations.json").write_text(json.dumps(PLAIN), encoding=encoding)
    _is_equal(annotations.read_coco(folder), plain)


@pytest.mark.parametrize("listed", [[], None])
def test_keypoints_without_names_are_numbered(tmp_path, listed, caplog):
  folder = _folder(tmp_path, _changed(_of("categories", keypoints=listed)))
  assert annotations.read_coco(folder).keypoint_names == ("1", "2", "3")
  assert "'cat' has no names of keypoints" in caplog.text


@pytest.mark.parametrize("box", [None, [], [0, 0, 0, 0], [float("nan")] * 4])
def test_boxes_are_made_where_there_are_none(tmp_path, box, caplog):
  folder = _folder(tmp_path, _changed(_of("annotations", bbox=box)))
  (instance,) = annotations.read_coco(folder).instances
  # Keypoints span 18 x 8 between pixel centres; 8 px are the least margin.
  np.testing.assert_allclose(instance.box, (4.5, 6.5, 34, 24))
  assert "made: 1 boxes" in caplog.text


def test_keypoints_without_visibility(tmp_path, caplog):
  content = _changed(_of("annotations", keypoints=[12, 14, 30, 22, 0, 0]))
  (instance,) = annotations.read_coco(_folder(tmp_path, content)).instances
  np.testing.assert_array_equal(instance.visible, [True, True, False])
  assert "1 keypoints at (0, 0)" in caplog.text
  content = _changed(_of("annotations", keypoints=[[12, 14], None, [30, 22]]))
  (instance,) = annotations.read_coco(_folder(tmp_path, content)).instances
  np.testing.assert_array_equal(instance.visible, [True, False, True])


def test_confidences_in_the_place_of_visibility(tmp_path):
  values = [12, 14, 0.9, 30, 22, 0.2, 1, 1, 1.0]
  folder = _folder(tmp_path, _changed(_of("annotations", keypoints=values)))
  (instance,) = annotations.read_coco(folder).instances
  np.testing.assert_array_equal(instance.visible, [True, False, True])
  (found,) = coco.read(folder / "annotations.json").images[0].objects
  assert [p.confidence for p in found.keypoints.values()] == [0.9, 0.2, 1.0]


def test_what_is_left_out_is_told(tmp_path, caplog):
  annotations.read_coco(_folder(tmp_path, _changed(_box_label)))
  assert "category 'box' without keypoints, and its 2 annotations" in caplog.text


def test_lists_of_points_without_names_are_told(tmp_path, caplog):
  """As COCO-WholeBody writes points of the face beside those of the body."""
  content = _changed(_of("annotations", face_kpts=[1, 2, 2], lefthand_kpts=[0, 0, 0]))
  assert len(annotations.read_coco(_folder(tmp_path, content)).keypoint_names) == 3
  assert "no category names: face_kpts (1)" in caplog.text


def test_namesakes_with_other_keypoints_stay_apart(tmp_path, caplog):
  def change(content):
    content["categories"].append({"id": 2, "name": "cat", "keypoints": ["wing"]})

  dataset = annotations.read_coco(_folder(tmp_path, _changed(change)))
  assert dataset.species == ("cat", "cat 2")
  assert "'cat 2'" in caplog.text


def test_a_fault_is_told_once(tmp_path):
  """Annotations of a category with a fault are no faults of their own."""
  content = _changed(_of("categories", keypoints=["nose", "nose", "nose"]))
  _, problems = coco_file.examine(_folder(tmp_path, content) / "annotations.json")
  assert len(problems) == 1 and "different names" in problems[0]


def test_no_category_with_keypoints_is_refused(tmp_path):
  """Points as categories: nothing is named, nothing is an object."""

  def change(content):
    content["categories"][0] |= {"keypoints": []}
    content["annotations"][0] |= {"keypoints": []}

  with pytest.raises(ValueError, match="category 1: keypoints is"):
    annotations.read_coco(_folder(tmp_path, _changed(change)))
