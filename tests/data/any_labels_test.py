"""read_dataset: one way in for files, folders and projects of labels."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data import annotations, any_labels

PLAIN = {
  "images": [{"id": 1, "file_name": "a/b.png", "width": 64, "height": 48}],
  "annotations": [
    {
      "id": 1,
      "image_id": 1,
      "category_id": 1,
      "bbox": [10, 10, 30, 20],
      "keypoints": [12, 14, 2, 30, 22, 1],
    }
  ],
  "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}],
}

CVAT = """<annotations><version>1.1</version>
<image id="0" name="b.png" width="64" height="48"><skeleton label="cat">
<points label="nose" outside="0" occluded="0" points="12.5,14.5"/>
<points label="tail" outside="0" occluded="1" points="30.5,22.5"/>
</skeleton></image></annotations>"""

DEEPLABCUT = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"


def _picture(path, size=(64, 48)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size).save(path)


def _points(dataset):
  return {
    dataset.image_names[i.image]: i.keypoints[i.visible].tolist()
    for i in dataset.instances
  }


def _coco(name):
  return json.dumps(PLAIN | {"images": [{**PLAIN["images"][0], "file_name": name}]})


def test_the_layout_of_this_package_is_read_as_ever(tmp_path):
  _picture(tmp_path / "images" / "a" / "b.png")
  (tmp_path / "annotations.json").write_text(_coco("a/b.png"))
  one, other = any_labels.read_dataset(tmp_path), annotations.read_coco(tmp_path)
  assert one.image_names == other.image_names and one.name == other.name
  assert _points(one) == _points(other)


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_file_of_another_tool_with_its_images(tmp_path, given):
  _picture(tmp_path / "images" / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT)
  path = tmp_path if given == "folder" else tmp_path / "annotations.xml"
  dataset = any_labels.read_dataset(path)
  assert dataset.keypoint_names == ("nose", "tail") and dataset.species == ("cat",)
  assert _points(dataset) == {"b.png": [[12, 14], [30, 22]]}
  assert dataset.read_image(0) == (tmp_path / "images" / "b.png").read_bytes()


def test_splits_with_equal_file_names_are_other_images(tmp_path):
  """Roboflow writes _annotations.coco.json into train/, valid/ and test/."""
  for split, x in (("train", 5), ("valid", 6)):
    _picture(tmp_path / split / "b.png")
    content = json.loads(_coco("b.png"))
    content["annotations"][0]["keypoints"][0] = x
    (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
  found = _points(any_labels.read_dataset(tmp_path))
  assert {name: points[0] for name, points in found.items()} == {
    "train/b.png": [5, 14], "valid/b.png": [6, 14],
  }  # fmt: skip


def test_files_of_splits_beside_folders_of_their_names(tmp_path):
  """annotations/train.json with images/train/b.png, as COCO's own files."""
  (tmp_path / "annotations").mkdir()
  for split, x in (("train", 5), ("val", 6)):
    _picture(tmp_path / "images" / split / "b.png")
    content = json.loads(_coco("b.png"))
    content["annotations"][0]["keypoints"][0] = x
    file = tmp_path / "annotations" / f"person_keypoints_{split}.json"
    file.write_text(json.dumps(content))
  expected = {"images/train/b.png": [5, 14], "images/val/b.png": [6, 14]}
  for path in (tmp_path, tmp_path / "annotations"):
    found = _points(any_labels.read_dataset(path))
    assert {name: points[0] for name, points in found.items()} == expected


def test_images_in_deeper_folders(tmp_path):
  _picture(tmp_path / "images" / "train" / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT)
  assert any_labels.read_dataset(tmp_path).image_names == ("images/train/b.png",)


def test_the_layout_with_images_one_folder_deeper(tmp_path, capsys):
  _picture(tmp_path / "images" / "train" / "b.png")
  (tmp_path / "annotations.json").write_text(_coco("b.png"))
  assert len(any_labels.read_dataset(tmp_path).instances) == 1
  assert main.main(["data", "doctor", str(tmp_path)]) == 0
  assert "missing, with" not in capsys.readouterr().out


def test_a_project_of_deeplabcut(tmp_path):
  clip = tmp_path / "labeled-data" / "clip"
  _picture(clip / "img01.png")
  (clip / "CollectedData_me.csv").write_text(
    DEEPLABCUT + "labeled-data/clip/img01.png,12,14,30,22\n"
  )
  found = _points(any_labels.read_dataset(tmp_path))
  assert found == {"labeled-data/clip/img01.png": [[12, 14], [30, 22]]}
  pattern = any_labels.read_dataset(tmp_path / "labeled-data" / "*" / "*.csv")
  assert [*_points(pattern).values()] == [[[12, 14], [30, 22]]]


def test_missing_images_are_left_out_and_counted(tmp_path, caplog):
  _picture(tmp_path / "images" / "b.png")
  more = CVAT.replace('id="0" name="b', 'id="1" name="gone').split("\n", 1)[1]
  (tmp_path / "annotations.xml").write_text(CVAT[: -len("</annotations>")] + more)
  dataset = any_labels.read_dataset(tmp_path)
  assert dataset.image_names == ("b.png",)
  assert "1 images are not in" in caplog.text and "gone.png" in caplog.text
  (tmp_path / "images" / "b.png").unlink()
  with pytest.raises(FileNotFoundError, match="none of its 2 images"):
    any_labels.read_dataset(tmp_path)


def test_keypoints_outside_are_missing_and_counted(tmp_path):
  _picture(tmp_path / "images" / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT.replace("12.5,14.5", "70,14.5"))
  with pytest.warns(UserWarning, match="1 keypoints outside"):
    dataset = any_labels.read_dataset(tmp_path)
  np.testing.assert_array_equal(dataset.instances[0].visible, [False, True])


def test_labels_of_several_kinds_are_refused_by_name(tmp_path):
  _picture(tmp_path / "images" / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT)
  (tmp_path / "more.json").write_text(_coco("b.png"))
  with pytest.raises(ValueError, match=r"annotations\.xml \(CVAT.*more\.json \(COCO"):
    any_labels.read_dataset(tmp_path)


def test_other_files_in_a_folder_are_told(tmp_path, caplog):
  _picture(tmp_path / "images" / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT)
  (tmp_path / "weights.csv").write_text("epoch,loss\n1,2\n")
  (tmp_path / "package.json").write_text('{"version": 3}')
  assert len(any_labels.read_dataset(tmp_path).instances) == 1
  assert "2 files are no labels" in caplog.text and "weights.csv" in caplog.text


@pytest.mark.parametrize(
  "content, told",
  [
    ([{"path": "a.jpg", "set": "train"}], "a list of 1 objects with the keys ['path'"),
    (
      {"bboxes": [], "keypoints": []},
      "an object with the keys ['bboxes', 'keypoints']",
    ),
    ([[1, 2]], "a list of 1: [[1, 2]]"),
  ],
)
def test_json_of_nobody_is_described(tmp_path, content, told, capsys):
  path = tmp_path / "labels.json"
  path.write_text(json.dumps(content))
  for source in (path, tmp_path):
    assert main.main(
      ["data", "convert", str(source), "--out", str(tmp_path / "o.json")]
    )
    assert told in capsys.readouterr().err


def test_the_kind_is_told(tmp_path, caplog):
  caplog.set_level(logging.INFO)
  _picture(tmp_path / "b.png")
  (tmp_path / "annotations.xml").write_text(CVAT)
  any_labels.read_dataset(tmp_path / "annotations.xml")
  assert "CVAT" in caplog.text
