"""read_coco: what it returns, and one clear error for everything that can be wrong."""

import copy
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from fskd_jax.data import annotations

CONTENT = {
  "images": [
    {"id": 30, "file_name": "b/one.png", "width": 40, "height": 30},
    {"id": 20, "file_name": "two.png", "width": 16, "height": 8},
    {"id": 10, "file_name": "empty.png", "width": 4, "height": 4},
  ],
  "categories": [
    {
      "id": 5,
      "name": "cat",
      "keypoints": ["nose", "left ear", "tail"],
      "skeleton": [[1, 2], [1, 3]],
    },
    {
      "id": 2,
      "name": "crab",
      "keypoints": ["claw", "nose"],
      "skeleton": [[2, 1]],
    },
  ],
  "annotations": [
    {
      "id": 9,
      "image_id": 20,
      "category_id": 2,
      "bbox": [1, 2, 8, 4],
      "keypoints": [3, 4, 2, 5, 6, 1],
    },
    {
      "id": 8,
      "image_id": 30,
      "category_id": 5,
      "bbox": [-3, 5.5, 50, 10],
      "keypoints": [11, 12, 2, 99, 99, 0, 20.5, 9, 2],
      "num_keypoints": "ignored",
    },
    {
      "id": 7,
      "image_id": 30,
      "category_id": 5,
      "bbox": [10, 10, 5, 5],
      "keypoints": [0, 0, 0, 13, 14, 2, 0, 0, 0],
      "iscrowd": 0,
    },
  ],
}


def write(folder, content):
  for image in content["images"]:
    if isinstance(image.get("file_name"), str) and image.get("file_name"):
      path = folder / "images" / image["file_name"]
      path.parent.mkdir(parents=True, exist_ok=True)
      size = next(i for i in CONTENT["images"] if i["file_name"] == image["file_name"])
      Image.new("RGB", (size["width"], size["height"])).save(path)
  (folder / "annotations.json").write_text(json.dumps(content))
  return folder


@pytest.fixture
def content():
  return copy.deepcopy(CONTENT)


def test_reads_every_field(tmp_path, content):
  content["annotations"][0]["id"] = 1  # the image comes first in the order
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    dataset = annotations.read_coco(write(tmp_path, content))
  assert dataset.name == tmp_path.name
  assert dataset.keypoint_names == ("nose", "left ear", "tail", "claw")
  assert dataset.skeleton == ((0, 1), (0, 2), (0, 3))
  assert dataset.species == ("cat", "crab")
  assert dataset.image_names == ("b/one.png", "two.png")
  assert [i.instance_id for i in dataset.instances] == [7, 8, 1]
  assert [i.image for i in dataset.instances] == [0, 0, 1]
  cat, crab = dataset.instances[1:]
  assert (cat.species, cat.image_size) == ("cat", (40, 30))
  assert cat.keypoints.dtype == np.float32 and cat.visible.dtype == bool
  np.testing.assert_array_equal(cat.visible, [True, False, True, False])
  np.testing.assert_array_equal(cat.keypoints, [[11, 12], [0, 0], [20.5, 9], [0, 0]])
  np.testing.assert_array_equal(crab.visible, [True, False, False, True])
  np.testing.assert_array_equal(crab.keypoints, [[5, 6], [0, 0], [0, 0], [3, 4]])
  for i, name in enumerate(dataset.image_names):
    assert dataset.read_image(i) == (tmp_path / "images" / name).read_bytes()


def test_boxes_keep_what_lies_in_the_image(tmp_path, content):
  assert annotations.read_coco(write(tmp_path, content)).instances[1].box == (
    0.0, 5.5, 40.0, 10.0,
  )  # fmt: skip
  assert annotations.clip_box((-2, 25, 10, 10), (40, 30)) == (0, 25, 8, 5)
  assert annotations.clip_box((35, -1, 10, 40), (40, 30)) == (35, 0, 5, 30)
  assert annotations.clip_box((3, -4, 10, 20), (40, 30)) == (3, 0, 10, 16)
  assert annotations.clip_box((3, 4, 10, 20), (40, 30)) == (3, 4, 10, 20)


def test_skeleton_counted_from_zero(tmp_path, content):
  content["categories"][0]["skeleton"] = [[0, 1], [2, 0]]
  assert annotations.read_coco(write(tmp_path, content)).skeleton[:2] == (
    (0, 1), (2, 0),
  )  # fmt: skip


def test_what_is_dropped_is_counted_in_one_warning(tmp_path, content):
  # x spans -0.5..39.5 and y -0.5..29.5, in the pixel-index convention.
  content["annotations"][1]["keypoints"] = [39.6, 3, 2, -0.5, 29.5, 2, 3, -0.6, 1]
  content["annotations"][0]["keypoints"] = [3, 4, 0, 5, 6, 0]
  content["annotations"].append({"id": 1, "iscrowd": 1})
  folder = write(tmp_path, content)
  with pytest.warns(UserWarning, match="2 keypoints outside.* 1 instances") as caught:
    dataset = annotations.read_coco(folder)
  assert len(caught) == 1 and caught[0].filename == __file__
  assert [i.instance_id for i in dataset.instances] == [7, 8]
  assert dataset.image_names == ("b/one.png",)
  np.testing.assert_array_equal(dataset.instances[1].visible, [0, 1, 0, 0])
  np.testing.assert_array_equal(dataset.instances[1].keypoints[[0, 2]], 0)


BAD = {
  "id twice": (("annotations", 1, "id"), 9, "annotation 9.*more than once"),
  "image id twice": (("images", 1, "id"), 30, "image 30.*more than once"),
  "no id": (("annotations", 1, "id"), None, "annotation at place 1.*None.*integer"),
  "unknown category": (("annotations", 0, "category_id"), 4, "annotation 9.*4"),
  "unknown image": (("annotations", 0, "image_id"), 31, "annotation 9.*31"),
  "list id": (("annotations", 0, "image_id"), [20], r"annotation 9.*\[20\]"),
  "short keypoints": (
    ("annotations", 1, "keypoints"), [1, 2, 2],
    r"annotation 8.*one\.png.*3 values, expected 9.*'cat'",
  ),
  "nan": (
    ("annotations", 0, "keypoints"), [3, float("nan"), 2, 5, 6, 1],
    r"annotation 9.*two\.png.*'claw'.*nan.*finite",
  ),
  "huge": (("annotations", 0, "keypoints"), [3, 4, 2, 10**400, 6, 1], "'nose'"),
  "text": (("annotations", 0, "keypoints"), ["3", 4, 2, 5, 6, 1], "finite numbers"),
  "visibility": (
    ("annotations", 0, "keypoints"), [3, 4, 2, 5, 6, 3], "'nose'.*visibility 3",
  ),
  "inf box": (("annotations", 0, "bbox"), [0, 0, float("inf"), 4], "bbox.*finite"),
  "negative box": (("annotations", 0, "bbox"), [1, 1, 3, -4], "above 0"),
  "box outside": (("annotations", 0, "bbox"), [16, 1, 3, 4], "outside.*16 x 8"),
  "box outside left": (("annotations", 0, "bbox"), [-5, 1, 5, 4], "outside"),
  "no file name": (("images", 0, "file_name"), None, "image 30.*file_name is None"),
  "no width": (("images", 0, "width"), None, "image 30.*width is None"),
  "flat image": (("images", 0, "height"), 0, "image 30.*height is 0"),
  "same names": (("categories", 0, "keypoints"), ["a", "a"], "category 5.*different"),
  "no list": (("images",), {}, "'images'.*list of objects"),
  "no key": (("categories",), None, "'categories' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_one_clear_error_for_each_fault(tmp_path, content, fault):
  write(tmp_path, content)
  place, value, message = BAD[fault]
  target = content
  for key in place[:-1]:
    target = target[key]
  target[place[-1]] = value
  (tmp_path / "annotations.json").write_text(json.dumps(content))
  with pytest.raises(ValueError, match=message) as error:
    annotations.read_coco(tmp_path)
  assert str(tmp_path / "annotations.json") in str(error.value)


def test_long_lists_of_faults_are_cut(tmp_path, content):
  many = [dict(content["annotations"][0], id=i, bbox=[0, 0, -1, 1]) for i in range(20)]
  content["annotations"] = many
  with pytest.raises(ValueError, match="annotation 4.*and 15 more") as error:
    annotations.read_coco(write(tmp_path, content))
  assert str(error.value).count("bbox is") == 5


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_no_json(tmp_path, text):
  (tmp_path / "annotations.json").write_bytes(text.encode("latin-1"))
  with pytest.raises(ValueError, match=str(tmp_path / "annotations.json")):
    annotations.read_coco(tmp_path)


def test_missing_files(tmp_path, content, caplog):
  with pytest.raises(FileNotFoundError, match=str(tmp_path / "annotations.json")):
    annotations.read_coco(tmp_path)
  write(tmp_path, content)
  (tmp_path / "images" / "two.png").unlink()
  found = annotations.read_coco(tmp_path)
  assert found.image_names == ("b/one.png",) and len(found.instances) == 2
  assert "1 of 3 images are not" in caplog.text and "two.png" in caplog.text
  assert "1 annotations" in caplog.text
  for path in (tmp_path / "images").rglob("*.png"):
    path.unlink()
  with pytest.raises(FileNotFoundError, match=r"3 of 3 images.*one\.png"):
    annotations.read_coco(tmp_path)


def test_image_of_another_size_is_found_when_it_is_read(tmp_path, content):
  dataset = annotations.read_coco(write(tmp_path, content))
  path = tmp_path / "images" / "two.png"
  Image.new("RGB", (8, 16)).save(path)  # as if turned by its EXIF tag
  with pytest.raises(ValueError, match=r"two\.png' has 8 x 16 .* says 16 x 8"):
    dataset.read_image(1)
  path.write_bytes(b"no image")
  with pytest.raises(ValueError, match=r"two\.png' cannot be decoded"):
    dataset.read_image(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*keypoints outside")
def test_real_folders(photographs):
  sizes = {"faces": 2082, "humans": 4000, "mouse_openfield": 116, "reaching_hand": 54}
  for name, count in sizes.items():
    dataset = annotations.read_coco(photographs / name)
    assert (dataset.name, len(dataset.instances)) == (name, count)
    assert dataset.read_image(0)[:2] == b"\xff\xd8"
    for instance in dataset.instances:
      assert (instance.keypoints[~instance.visible] == 0).all()
      x, y, w, h = instance.box
      assert min(x, y) >= 0 and w > 0 and h > 0
      assert x + w <= instance.image_size[0] + 1e-3
      assert y + h <= instance.image_size[1] + 1e-3
