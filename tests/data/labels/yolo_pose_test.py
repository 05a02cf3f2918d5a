"""YOLO-pose: folders as their owners keep them, and what data.yaml says of them."""

import pytest
from PIL import Image

from fskd_jax.data.labels import yolo_pose, yolo_settings
from fskd_jax.data.labels.schema import Keypoint

SIZE = (40, 20)
ROW = "0 0.5 0.5 0.5 0.5 0.1 0.2 2 0 0 0 0.9 0.25 1\n"
"""A box around the centre; a visible, a missing and an occluded keypoint."""
YAML = (
  "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [3, 3]\nnames: [cat]\n"
)
FOUND = {"1": Keypoint(3.5, 3.5), "3": Keypoint(35.5, 4.5, True)}


def _write(root, files):
  for name, content in files.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
      Image.new("RGB", SIZE).save(path)
    else:
      path.write_text(content)
  return root


@pytest.fixture
def folder(tmp_path):
  files = {"data.yaml": YAML, "images/train/a.png": None, "images/val/a.png": None}
  files |= {"labels/train/a.txt": ROW, "labels/val/a.txt": ROW.replace("0.9", "0.8")}
  return _write(tmp_path / "set", files)


def _close(found, expected):
  assert found.keys() == expected.keys()
  for name, point in expected.items():
    assert found[name] == pytest.approx(point)


@pytest.mark.parametrize("source", ["", "data.yaml"])
def test_a_data_set_has_the_images_of_all_splits(source, folder):
  labels = yolo_pose.read(folder / source)
  names = ["images/train/a.png", "images/val/a.png"]
  assert [image.name for image in labels.images] == names
  assert {image.size for image in labels.images} == {SIZE}
  (first,), (second,) = (image.objects for image in labels.images)
  _close(first.keypoints, FOUND)
  assert second.keypoints["3"].x == pytest.approx(31.5)
  assert first.species == "cat" and first.box == pytest.approx((10, 5, 20, 10))
  assert labels.categories["cat"].keypoints == ("1", "2", "3")


def test_a_folder_of_labels_finds_its_images_and_its_settings(folder):
  for images in (None, folder / "images" / "train"):
    labels = yolo_pose.read(folder / "labels" / "train", images)
    assert [image.name for image in labels.images] == ["a.png"]
    assert labels.images[0].objects[0].species == "cat"


@pytest.mark.parametrize(
  "told",
  [
    "path: C:\\Users\\me\\set\ntrain: images\\train\nval: images\\val\n",
    "path: /nowhere/set\ntrain: ./images/train\nval: images/val\n",
    "train: ../images/train\nval: ../images/val\n",  # Roboflow
    "train: [images/train, images/val]\n",
    "train: train.txt\nval: images/val\n",
    "",
  ],
)
def test_folders_are_found_where_the_file_is(told, folder):
  rest = YAML[YAML.index("kpt_shape") :]
  _write(
    folder, {"data.yaml": told + rest, "train.txt": "./images/train/a.png\nx.png\n"}
  )
  labels = yolo_pose.read(folder)
  assert sum(len(image.objects) for image in labels.images) == 2


def test_labels_beside_images_and_in_folders_of_roboflow(tmp_path):
  for files in (
    {"a.png": None, "a.txt": ROW, "b.png": None, "classes.txt": "cat\n"},
    {"train/images/a.png": None, "train/labels/a.txt": ROW, "train/images/b.png": None},
  ):
    root = _write(tmp_path / str(len(files)), files)
    assert yolo_pose.is_one(root)
    labels = yolo_pose.read(root)
    counts = {i.name.split("/")[-1]: len(i.objects) for i in labels.images}
    assert counts == {"a.png": 1, "b.png": 0}
    species = "cat" if "classes.txt" in files else ""
    _close(labels.images[0].objects[0].keypoints, FOUND)
    assert labels.images[0].objects[0].species == species


def test_two_numbers_a_keypoint_and_boxes_without_keypoints(folder):
  text = YAML.replace("3, 3", "3, 2")
  row = "0 0.5 0.5 0.5 0.5 0.1 0.2 0 0 0.9 0.25\n0 0.5 0.5 0.5 0.5\n"
  _write(folder, {"data.yaml": text, "labels/train/a.txt": row})
  marked, bare = yolo_pose.read(folder / "labels" / "train").images[0].objects
  _close(marked.keypoints, {"1": Keypoint(3.5, 3.5), "3": Keypoint(35.5, 4.5)})
  assert not bare.keypoints and bare.box == pytest.approx((10, 5, 20, 10))


def test_confidences_of_predictions(folder):
  row = "0 0.5 0.5 0.5 0.5 0.1 0.2 0.75 0.3 0.2 0.125 0.9 0.25 0.5 0.8\n"
  _write(folder, {"labels/train/a.txt": row})
  (found,) = yolo_pose.read(folder / "labels" / "train").images[0].objects
  assert [p.confidence for p in found.keypoints.values()] == [0.75, 0.125, 0.5]


@pytest.mark.parametrize(
  "text, names",
  [
    ("flip_idx: [1, 0, 2]", ("left 1", "right 1", "3")),
    ("kpt_names: {0: [nose, ear, tail]}", ("nose", "ear", "tail")),
    ("keypoint_names: [nose, ear, tail]\nflip_idx: [1, 0, 2]", ("nose", "ear", "tail")),
  ],
)
def test_names_of_keypoints_keep_the_mirror_pairs(text, names, folder):
  _write(folder, {"data.yaml": YAML + text})
  assert yolo_pose.read(folder).categories["cat"].keypoints == names


def test_the_seventeen_points_of_coco_have_their_names(tmp_path):
  flip = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
  path = tmp_path / "data.yaml"
  path.write_text(f"kpt_shape: [17, 3]\nflip_idx: {flip}\n")
  names = yolo_settings.read(path).keypoints[None]
  assert names[:3] == ("nose", "left_eye", "right_eye") and names[16] == "right_ankle"
  sides = {"left": "right", "right": "left"}
  for name, other in zip(names, flip):
    side, _, part = name.partition("_")
    assert names[other] == (f"{sides[side]}_{part}" if part else name)


@pytest.mark.parametrize(
  "files, problem",
  [
    ({"labels/train/a.txt": "0 0.5 0.5\n"}, "a.txt: line 1 has 3 numbers"),
    ({"labels/train/a.txt": "\n0 0.5 0.5 0.5 0.5 0.1 0.1\n"}, "line 2 has 7 numbers"),
    ({"labels/train/a.txt": ROW.replace("0.5", "20")}, "are they pixels"),
    ({"labels/train/a.txt": "1" + ROW[1:]}, "class 1 is none of"),
    ({"labels/train/a.txt": "cat" + ROW[1:]}, "is 'cat', expected a finite"),
    ({"images/train/a.jpg": None}, "would have the same labels"),
    ({"data.yaml": YAML.replace("3, 3", "3, 4")}, r"expected \[keypoints, 2 or 3\]"),
    ({"data.yaml": YAML.replace("[3, 3]", "[100000000, 3]")}, "expected 1 .."),
    ({"data.yaml": YAML + "flip_idx: [0, 0, 1]\n"}, "each number below 3 once"),
    ({"data.yaml": YAML + "kpt_names: [a, a, b]\n"}, "expected 3 others"),
  ],
)
def test_faults_are_told_with_file_and_line(files, problem, folder):
  _write(folder, files)
  with pytest.raises(ValueError, match=problem) as error:
    yolo_pose.read(folder)
  assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_labels_without_images_are_counted_or_refused(folder, caplog):
  (folder / "images" / "train" / "a.png").unlink()
  assert [i.name for i in yolo_pose.read(folder).images] == ["images/val/a.png"]
  assert "left out: 1 files of labels without an image" in caplog.text
  (folder / "images" / "val" / "a.png").unlink()
  with pytest.raises(FileNotFoundError, match="--images"):
    yolo_pose.read(folder)


def test_other_folders_are_no_data_sets_of_yolo(tmp_path):
  files = {"a/notes.txt": "0 1 2 3\n", "b/x.csv": "1", "b/data.yaml": "names: [cat]\n"}
  _write(
    tmp_path, {**files, "d/boxes.txt": "0 0.5 0.5 0.5 0.5\n", "e/bad.yaml": "a: ["}
  )
  for name in "abcde":
    assert not yolo_pose.is_one(tmp_path / name)
