"""Labels and predictions go back to the tools, whose own libraries open them."""

import json
import pathlib

import numpy as np
import pytest
import yaml
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import deeplabcut_project, formats, schema, yolo_pose
from fskd_jax.data.labels.schema import Keypoint, LabelledImage, LabelledObject

SIZE = (40, 30)
NAMES = ("nose", "left ear", "right ear")


def _labels(confidence=None):
  second = Keypoint(3, 4.5, confidence is None, confidence)
  points = {"nose": Keypoint(10.25, 20), "left ear": second}
  found = LabelledObject(points, "cat", (1, 2, 30, 20))
  images = (
    LabelledImage("clip/a.png", SIZE, (found,)),
    LabelledImage("other/b.png", SIZE, (found, found._replace(box=(0, 0, 30, 20)))),
    LabelledImage("other/c.png", SIZE, ()),
  )
  category = schema.Category(NAMES, (("nose", "left ear"),))
  return schema.Labels(images, {"cat": category})


MACHINE = _labels(0.75)


@pytest.fixture
def coco(tmp_path):
  """A COCO file and its images."""
  for image in _labels().images:
    path = tmp_path / "images" / image.name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(path)
  path = tmp_path / "annotations.json"
  formats.FORMATS["coco"].write(_labels(), path, path)
  return path


def _written(target, labels, path):
  formats.FORMATS[target].write(labels, path, path)
  return path


@pytest.mark.parametrize("target", ["yolo-pose", "deeplabcut-project"])
def test_images_come_into_folders_of_labels(target, coco, tmp_path, capsys):
  out = tmp_path / "out"
  command = ["data", "convert", str(coco), "--to", target, "--out", str(out)]
  assert main.main(command) == 0
  assert "images: 3 are in it" in capsys.readouterr().out
  found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
  start = "images" if target == "yolo-pose" else "labeled-data"
  assert found == [f"{start}/{i.name}" for i in _labels().images]
  back = formats.read(out)
  assert [len(image.objects) for image in back.images] == [1, 2, 0]
  for path in (tmp_path / "images").rglob("*.png"):
    path.unlink()
  assert main.main([*command[:-1], str(tmp_path / "bare")]) == 0
  assert "none is in it" in capsys.readouterr().out


def test_a_project_of_deeplabcut_is_what_pandas_reads(tmp_path):
  pandas = pytest.importorskip("pandas", reason="pandas is not installed")
  out = tmp_path / "mice-AW-2026-11-27"
  formats.FORMATS["deeplabcut-project"].write(MACHINE, out, out)
  config = yaml.safe_load((out / "config.yaml").read_text())
  assert (config["Task"], config["scorer"]) == ("mice", "AW")
  assert config["individuals"] == ["individual1", "individual2"]
  assert config["multianimalbodyparts"] == [*NAMES]
  assert config["skeleton"] == [["nose", "left ear"]]
  assert [*config["video_sets"]] == ["videos/clip.mp4", "videos/other.mp4"]
  for clip, file in (("clip", "a.png"), ("other", "b.png")):
    folder = out / "labeled-data" / clip
    row = ("labeled-data", clip, file)
    for stem, part, axes, values in (
      ("CollectedData_AW", "nose", "xy", [10.25, 20]),
      ("machinelabels-iter0", "left ear", ["x", "y", "likelihood"], [3, 4.5, 0.75]),
    ):
      csv = pandas.read_csv(
        folder / f"{stem}.csv", header=[0, 1, 2, 3], index_col=[0, 1, 2]
      )
      scorer = stem.removeprefix("CollectedData_")
      cells = [csv.loc[row, (scorer, "individual1", part, axis)] for axis in axes]
      assert cells == values
      other = "left ear" if part == "nose" else "nose"
      assert csv.loc[row].xs(other, level="bodyparts").isna().all()
  assert not (out / "labeled-data" / "bare").exists()


def test_the_h5_of_a_project_is_its_csv(tmp_path):
  pytest.importorskip("tables", reason="pandas reads H5 with PyTables: not installed")
  pandas = pytest.importorskip("pandas", reason="pandas is not installed")
  out = _written("deeplabcut-project", MACHINE, tmp_path / "mice")
  files = sorted(out.rglob("*.h5"))
  assert len(files) == 4
  for path in files:
    csv = pandas.read_csv(
      path.with_suffix(".csv"), header=[0, 1, 2, 3], index_col=[0, 1, 2]
    )
    frame = pandas.read_hdf(path)
    assert [*frame.columns] == [*csv.columns] and [*frame.index] == [*csv.index]
    np.testing.assert_array_equal(frame.to_numpy(), csv.to_numpy())


def test_a_project_comes_back_as_what_persons_labelled(tmp_path):
  out = _written("deeplabcut-project", MACHINE, tmp_path / "mice")
  labels = deeplabcut_project.read(out)
  names = ["labeled-data/clip/a.png", "labeled-data/other/b.png"]
  assert [image.name for image in labels.images if image.objects] == names
  assert labels.images[0].objects[0].keypoints == {"nose": Keypoint(10.25, 20)}
  twin = _labels()
  images = [i._replace(name=n) for i, n in zip(twin.images, ("a/b/x.png", "a_b/x.png"))]
  with pytest.raises(ValueError, match="two images would be labeled-data/a_b/x.png"):
    _written("deeplabcut-project", twin._replace(images=tuple(images)), tmp_path / "2")


def test_the_loader_of_ultralytics_reads_what_is_written(coco, tmp_path):
  data = pytest.importorskip("ultralytics.data", reason="ultralytics is not installed")
  utils = pytest.importorskip("ultralytics.data.utils")
  out = tmp_path / "out"
  command = ["data", "convert", str(coco), "--to", "yolo-pose", "--out", str(out)]
  assert main.main(command) == 0
  settings = utils.check_det_dataset(str(out / "data.yaml"))
  assert settings["kpt_shape"] == [3, 3] and settings["flip_idx"] == [0, 2, 1]
  assert settings["names"] == {0: "cat"}
  dataset = data.YOLODataset(
    img_path=settings["train"], data=settings, task="pose", augment=False
  )
  found = {pathlib.Path(e["im_file"]).name: e for e in dataset.get_labels()}
  assert {name: len(e["cls"]) for name, e in found.items()} == {
    "a.png": 1,
    "b.png": 2,
    "c.png": 0,
  }
  (points,) = found["a.png"]["keypoints"]
  expected = [[10.75 / 40, 20.5 / 30, 2], [3.5 / 40, 5 / 30, 1], [0, 0, 0]]
  np.testing.assert_allclose(points, expected, atol=1e-6)
  box = [16 / 40, 12 / 30, 30 / 40, 20 / 30]
  np.testing.assert_allclose(found["a.png"]["bboxes"], [box], atol=1e-6)


def test_yolo_tells_no_images_apart_by_their_suffix(tmp_path):
  labels = _labels()
  images = [i._replace(name=n) for i, n in zip(labels.images, ("x.png", "x.jpg"))]
  with pytest.raises(ValueError, match="would both have the labels labels/x.txt"):
    _written("yolo-pose", labels._replace(images=tuple(images)), tmp_path / "out")


def test_mirror_pairs_go_to_yolo_and_back(tmp_path):
  out = _written("yolo-pose", _labels(), tmp_path / "out")
  settings = yolo_pose.settings_file(out)
  assert settings and yaml.safe_load(settings.read_text())["flip_idx"] == [0, 2, 1]


def test_label_studio_opens_annotations_and_predictions(tmp_path):
  converter = pytest.importorskip(
    "label_studio_sdk.converter", reason="label-studio-sdk is not installed"
  )
  tools = "label_studio_sdk._extensions.label_studio_tools.core.label_config"
  schemes = pytest.importorskip(tools)
  for labels, key in ((_labels(), "annotations"), (MACHINE, "predictions")):
    path = _written("label-studio", labels, tmp_path / f"{key}.json")
    config = schemes.parse_config(formats.label_studio.interface(labels))
    assert {*config["keypoints"]["labels"]} == {*NAMES}
    tasks = json.loads(path.read_text())
    regions = tasks[0][key][0]["result"]
    for region in regions:
      assert region["from_name"] in config
      assert region["to_name"] in config[region["from_name"]]["to_name"]
    if key == "annotations":
      config_path = tmp_path / "config.xml"
      config_path.write_text(formats.label_studio.interface(labels))
      made = converter.Converter(str(config_path), str(tmp_path))
      made.convert_to_json(str(path), str(tmp_path / "out"), is_dir=False)
      (first, *_) = json.loads((tmp_path / "out" / "result.json").read_text())
      assert json.dumps(first).count("nose") == 1


def test_predictions_of_label_studio_are_read_where_nobody_labelled(tmp_path):
  path = _written("label-studio", MACHINE, tmp_path / "a.json")
  (found,) = formats.read(path).images[0].objects
  assert {n: p.confidence for n, p in found.keypoints.items()} == {
    "nose": None,
    "left ear": 0.75,
  }
  tasks = json.loads(path.read_text())
  tasks[0]["annotations"] = [{"result": []}]  # somebody removed all of it
  for region in tasks[1]["predictions"][0]["result"]:
    region.pop("score", None)
  tasks[1]["predictions"][0]["score"] = 0.25  # of the whole image
  path.write_text(json.dumps(tasks))
  first, second, _ = formats.read(path).images
  assert first.objects == ()
  for found in second.objects:
    assert {p.confidence for p in found.keypoints.values()} == {0.25}


@pytest.mark.parametrize("target, kind", [("cvat", "cvat"), ("coco", "coco")])
def test_datumaro_reads_what_is_written(target, kind, coco, tmp_path):
  datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
  root = tmp_path / "datumaro"
  if target == "cvat":
    root.mkdir()
    _written("cvat", _labels(), root / "train.xml")
  else:
    (root / "annotations").mkdir(parents=True)
    _written("coco", _labels(), root / "annotations" / "person_keypoints_train.json")
  (tmp_path / "images").rename(root / "images")
  dataset = datumaro.Dataset.import_from(str(root), kind)
  items = {item.id.split("/")[-1]: item for item in dataset}
  kinds = datumaro.AnnotationType
  (x, y), (left, top) = (10.25, 20), (3, 4.5)
  if target == "cvat":  # which counts from the corner
    x, y, left, top = x + 0.5, y + 0.5, left + 0.5, top + 0.5
  for name, count in (("a", 1), ("b", 2), ("c", 0)):
    every = items[name].annotations
    points = [v for a in every if a.type == kinds.points for v in a.points]
    pairs = [*zip(points[::2], points[1::2])]
    assert pairs.count((x, y)) == pairs.count((left, top)) == count
    boxes = [a.points for a in every if a.type == kinds.bbox]
    assert count == 0 or target == "coco" or boxes[0] == [1, 2, 31, 22]
