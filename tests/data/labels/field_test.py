"""Labels of other people: the first natural command on each gives the right numbers."""

import json

import numpy as np
import pytest

from fskd_jax.cli import main
from fskd_jax.data import any_labels, images
from fskd_jax.data.keypoint_types import flip_permutation

PAIR = {"left_eye": [12, 14], "right_eye": [30, 22]}
NUMBERED = {"1": [12, 14], "2": [30, 22]}
CLIP = "labeled-data/clip/"
ON_IMAGES = ("--images", "images")

READ = {
  "coco_annotation_without_keypoints": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_backslashes": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_ids_are_texts": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_keypoints_as_triples": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_missing_image_without_labels": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_names_missing": (("annotations.json", *ON_IMAGES), NUMBERED),
  "coco_names_missing ": (
    ("annotations.json", *ON_IMAGES, "--keypoints", "left_eye,right_eye"), PAIR,
  ),
  "coco_roboflow_category_0": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_skeleton_out_of_range": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_without_bbox": (("annotations.json", *ON_IMAGES), PAIR),
  "coco_folder_as_source": ((".",), PAIR),
  "cvat_points_of_one_shape": (
    ("annotations.xml", *ON_IMAGES),
    {"1": [11.8, 14.04], "2": [40.46, 12.56], "3": [11.96, 33.1]},
  ),
  "cvat_video": (("annotations.xml", *ON_IMAGES), {"1": [11.45, 25.1]}),
  "dlc_csv_semicolons": (
    (CLIP + "CollectedData_me.csv", "--images", "labeled-data"), None,
  ),
  "dlc_h5_table": ((CLIP + "CollectedData_me.h5", "--images", "labeled-data"), None),
  "dlc_many_sources_message": (("labeled-data/*/CollectedData_me.csv",), None),
  "dlc_project_folder": ((".",), None),
  "dlc_project_folder ": (("config.yaml",), None),
  "dlc_project_folder  ": (
    ("labeled-data/*/CollectedData_*.csv", "--images", "labeled-data"), None,
  ),
  "format_dlib_xml": (
    ("training.xml", *ON_IMAGES), {"00": [12, 14], "01": [30, 22]},
  ),
  "format_supervisely": (
    ("ann", "--images", "img"), {"top": [12, 14], "base": [30, 22]},
  ),
  "format_supervisely ": ((".",), {"top": [12, 14], "base": [30, 22]}),
  "format_tps": (("landmarks.tps", *ON_IMAGES), None),
  "format_via": (
    ("via_region_data.json", *ON_IMAGES), {"head": [12, 14], "tail": [30, 22]},
  ),
  "format_yolo_pose": ((".",), None),
  "format_yolo_pose ": (("data.yaml",), None),
  "format_yolo_pose  ": (("labels/train", "--images", "images/train"), None),
}  # fmt: skip

REFUSED = {
  "cvat_one_label_for_all_points": (
    ("annotations.xml", *ON_IMAGES), "no keypoint has a name",
  ),
  "format_json_folder": (
    ("annotations", *ON_IMAGES), "JSON of no known format: an object with the keys",
  ),
  "format_json_list": (
    ("labels.json", "--images", "."), "objects with the keys ['path', 'set', 'keyp",
  ),
  "format_tps": (("landmarks.csv", *ON_IMAGES), "landmarks.csv"),
}  # fmt: skip


def _convert(monkeypatch, field, name, arguments, out):
  monkeypatch.chdir(field / name.strip())
  return main.main(["data", "convert", *arguments, "--out", str(out)])


@pytest.mark.parametrize("name", READ)
def test_the_first_natural_command_gives_the_right_numbers(
  field, name, tmp_path, monkeypatch, capsys
):
  arguments, expected = READ[name]
  out = tmp_path / "out.json"
  assert _convert(monkeypatch, field, name, arguments, out) == 0, (
    capsys.readouterr().err
  )
  content = json.loads(out.read_text())
  names = content["categories"][0]["keypoints"]
  entry = content["annotations"][0]
  triples = np.reshape(entry["keypoints"], (-1, 3))
  assert (triples[:, 2] > 0).all() and min(entry["bbox"][2:]) > 0
  if expected:
    found = dict(zip(names, triples[:, :2].tolist()))
    for keypoint, place in expected.items():
      assert found[keypoint] == pytest.approx(place, abs=1e-4)
    assert found.keys() == expected.keys() and len(content["annotations"]) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(
  field, name, tmp_path, monkeypatch, capsys
):
  arguments, message = REFUSED[name]
  assert _convert(monkeypatch, field, name, arguments, tmp_path / "out.json") == 2
  told = capsys.readouterr().err
  assert message in told and told.count("\n") == 1


@pytest.mark.parametrize(
  "name",
  [*dict.fromkeys(key.strip() for key in READ), "image_16_bit", "mirror_names_l_r"],
)
def test_training_takes_the_folder_as_it_is(field, name):
  dataset = any_labels.read_dataset(field / name)
  assert dataset.instances and all(i.visible.any() for i in dataset.instances)
  assert dataset.read_image(0)


@pytest.mark.parametrize(
  "name",
  [
    "coco_backslashes",
    "coco_names_missing",
    "cvat_video",
    "dlc_project_folder",
    "format_yolo_pose",
  ],
)
def test_the_doctor_takes_the_folder_as_it_is(field, name, capsys):
  assert main.main(["data", "doctor", str(field / name)]) == 0
  assert "missing, with their labels" not in capsys.readouterr().out


def test_sleap_project(field, tmp_path, monkeypatch, capsys):
  pytest.importorskip("sleap_io", reason="pip install fskd-jax[sleap]")
  out = tmp_path / "out.json"
  arguments = ("labels.slp", *ON_IMAGES)
  assert _convert(monkeypatch, field, "sleap_slp", arguments, out) == 0
  assert json.loads(out.read_text())["annotations"]


def test_a_deep_image_is_not_white(field):
  path = field / "image_16_bit" / "images" / "a.png"
  assert (images.decode(path.read_bytes(), "a") == 255).mean() < 0.05


def test_sides_as_letters_are_mirror_pairs(field):
  names = any_labels.read_dataset(field / "mirror_names_l_r").keypoint_names
  assert flip_permutation(names).tolist() == [1, 0]
