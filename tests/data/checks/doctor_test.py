import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.checks import doctor, labels
from fskd_jax.data.coco_file import CocoFile


def _content(folder):
  return json.loads((folder / "annotations.json").read_text())


def _write(folder, content):
  (folder / "annotations.json").write_text(json.dumps(content))


def _edit(change):
  """Returns a damage of the annotation file."""

  def damage(folder):
    content = _content(folder)
    change(content)
    _write(folder, content)

  return damage


def _image(folder, number=0):
  return folder / "images" / _content(folder)["images"][number]["file_name"]


def _cut(folder):
  data = _image(folder).read_bytes()
  _image(folder).write_bytes(data[: len(data) // 2])


def _resize(folder):
  with Image.open(_image(folder)) as image:
    image.resize((9, 7)).save(_image(folder))


def _turn(annotated, stored):
  """Returns a damage: an image of a stored size that EXIF data turns."""

  def damage(folder):
    content = _content(folder)
    entry = content["images"][0]
    entry["width"], entry["height"] = annotated
    _write(folder, content)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", stored).save(_image(folder), exif=exif, format="JPEG")

  return damage


def _deep(folder):
  entry = _content(folder)["images"][0]
  shape = entry["height"], entry["width"]
  ramp = np.linspace(0, 4095, shape[0] * shape[1]).astype(np.uint16).reshape(shape)
  Image.fromarray(ramp).save(_image(folder))


def _deep_and_deeper(folder):
  _deep(folder)
  with Image.open(_image(folder)) as image:
    Image.fromarray(np.asarray(image) // 16).save(_image(folder, 1))


def _cut_off(folder):
  with Image.open(_image(folder)) as image:
    Image.new("RGB", image.size, "white").save(_image(folder))


def _copy_image(folder):
  shutil.copy(_image(folder, 0), _image(folder, 1))


def _change_case(folder):
  path = _image(folder)
  path.rename(path.with_name(path.name.upper()))


def _keypoint(values):
  def change(content):
    content["annotations"][0]["keypoints"][:3] = values

  return _edit(change)


def _count_from_1(content):
  for entry in content["annotations"]:
    image = next(i for i in content["images"] if i["id"] == entry["image_id"])
    ends = image["width"], image["height"]
    values = entry["keypoints"]
    for i in range(0, len(values), 3):
      values[i : i + 2] = (min(max(round(v), 1), e) for v, e in zip(values[i:], ends))
  entry["keypoints"][:3] = [*ends, 2]


def _name_a_side(content):
  for category in content["categories"]:
    category["keypoints"][0] = "left north"


def _repeat(content):
  content["annotations"].append(content["annotations"][0] | {"id": 10**6})


def _repeat_id(content):
  content["annotations"].append(dict(content["annotations"][0]))


DAMAGES = {
  "missing image": (lambda f: _image(f).unlink(), "warning", "missing"),
  "name in other case": (_change_case, "warning", "there is"),
  "cut image": (_cut, "error", "cannot be decoded"),
  "text as image": (
    lambda f: _image(f).write_text("no image"), "error", "cannot be decoded"
  ),
  "other size": (_resize, "error", "9 x 7"),
  "turned by EXIF": (_turn((30, 20), (20, 30)), "warning", "EXIF"),
  "turned and square": (_turn((30, 30), (30, 30)), "error", "mogrify -auto-orient"),
  "labelled before the turn": (_turn((20, 30), (20, 30)), "error", "exiftool"),
  "deep": (_deep, "note", "0 and 4095"),
  "of several depths": (
    _deep_and_deeper, "warning", "1 with white at 4095, 1 with white at 255"
  ),
  "white": (_cut_off, "warning", "100% of the pixels"),
  "same bytes": (_copy_image, "warning", "same bytes"),
  "keypoint outside": (_keypoint([-40, 5, 2]), "warning", "outside their image"),
  "NaN": (_keypoint([math.nan, 5, 2]), "error", "finite"),
  "visible at the origin": (_keypoint([0, 0, 2]), "warning", "(0, 0)"),
  "visibility of 3": (_keypoint([1, 1, 3]), "error", "visibility 3"),
  "negative box": (
    _edit(lambda c: c["annotations"][0].update(bbox=[1, 1, -3, 5])), "error", "bbox"
  ),
  "short list": (
    _edit(lambda c: c["annotations"][0]["keypoints"].pop()), "error", "expected"
  ),
  "annotation twice": (_edit(_repeat), "warning", "twice"),
  "id twice": (_edit(_repeat_id), "error", "more than once"),
  "unknown category": (
    _edit(lambda c: c["annotations"][0].update(category_id=99)), "error", "category_id"
  ),
  "counted from 1": (_edit(_count_from_1), "warning", "seem to count from 1"),
  "a side alone": (_edit(_name_a_side), "error", "left north"),
  "no annotation": (
    _edit(lambda c: c["annotations"].pop(0)), "note", "without an annotation"
  ),
  "file not named": (
    lambda f: Image.new("RGB", (4, 4)).save(f / "images" / "x.png"), "note", "x.png"
  ),
  "no JSON": (
    lambda f: (f / "annotations.json").write_text("{"), "error", "valid JSON"
  ),
}  # fmt: skip


@pytest.fixture
def folder(shapes_folder, tmp_path):
  return shutil.copytree(shapes_folder, tmp_path / "data")


def test_a_sound_folder_has_no_errors(folder):
  report = doctor.examine(folder)
  assert not report.has_errors
  content = _content(folder)
  assert report.counts["images named"] == len(content["images"])
  assert report.counts["instances"] == len(content["annotations"])


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found_and_named(folder, name):
  before = {(x.level, x.what): len(x.cases) for x in doctor.examine(folder).findings}
  damage, level, words = DAMAGES[name]
  damage(folder)
  report = doctor.examine(folder)
  new = [
    finding
    for finding in report.findings
    if len(finding.cases) > before.get((finding.level, finding.what), 0)
  ]
  assert any(
    finding.level == level and words in f"{finding.what}: {finding.cases}"
    for finding in new
  ), doctor.text(report)
  assert report.has_errors == (level == "error")


def test_all_damages_are_in_one_report_and_the_exit_status_says_so(
  folder, tmp_path, capsys
):
  assert main.main(["data", "doctor", str(folder)]) == 0
  _cut(folder)
  _image(folder, 1).unlink()
  _edit(lambda c: c["annotations"][2].update(bbox=[1, 1, -3, 5]))(folder)
  out = tmp_path / "report.json"
  assert main.main(["data", "doctor", str(folder), "--json", str(out)]) == 1
  text = capsys.readouterr().out
  assert "missing" in text and "decoded" in text and "bbox" in text
  levels = [x["level"] for x in json.loads(out.read_text())["findings"]]
  assert levels.count("error") == 2 and levels.count("warning") == 1


@pytest.mark.parametrize(
  "points, words",
  [
    ([[0.5, 3, 2]], "fractions from 0.5"),
    ([[0, 3, 2]], "counted from 0"),
    ([[1, 3, 2]], "from 0 or from 1"),
    ([[30, 20, 2], [1, 1, 1]], "seem to count from 1"),
    ([[31, 20, 2], [1, 1, 1]], "from 0 or from 1"),
    ([[30, 20, 0]], "no labelled keypoint"),
  ],
)
def test_index_base_and_visibility_are_told(points, words):
  names = ["left ear", "Right Eye", "left hand", "nose"]
  values = [v for point in points for v in point] + [0] * 3 * (4 - len(points))
  file = CocoFile(
    {1: {"width": 30, "height": 20, "file_name": "a"}},
    {1: {"name": "cat", "keypoints": names}},
    [{"image_id": 1, "category_id": 1, "keypoints": values}],
  )
  summary = labels.summarise([file, file])
  visibility, sides, base = summary.lines
  counts = [2 * sum(p[2] == v for p in points) for v in (2, 1)]
  assert f"{counts[0]} visible (v = 2), {counts[1]} occluded" in visibility
  assert "nose (2)" in visibility and words in base
  assert sides == "exchanged by a mirror: none"
  assert sum("other side" in what for _, what, _ in summary.doubts) == 3


def test_sides_matter_only_where_training_mirrors(folder):
  _edit(_name_a_side)(folder)
  assert main.main(["data", "doctor", str(folder)]) == 1
  assert main.main(["data", "doctor", str(folder), "--no-mirror"]) == 0


def test_missing_images_cost_themselves_unless_strict(folder):
  _image(folder).unlink()
  assert main.main(["data", "doctor", str(folder)]) == 0
  assert main.main(["data", "doctor", str(folder), "--strict"]) == 1
  shutil.rmtree(folder / "images")
  (folder / "images").mkdir()
  assert main.main(["data", "doctor", str(folder)]) == 1


@pytest.mark.parametrize("names", [("train", "val"), ("train", "more"), ("a", "b")])
def test_an_image_in_two_splits_is_an_error(folder, names):
  content = _content(folder)
  (folder / "annotations.json").unlink()
  half = len(content["images"]) // 2
  for name, images in zip(names, (content["images"][:half], content["images"][half:])):
    ids = {entry["id"] for entry in images}
    some = [x for x in content["annotations"] if x["image_id"] in ids]
    part = {**content, "images": images, "annotations": some}
    (folder / f"{name}.json").write_text(json.dumps(part))
  assert not doctor.examine(folder).has_errors
  first, last = content["images"][0]["file_name"], content["images"][-1]["file_name"]
  with Image.open(folder / "images" / last) as image:
    size = image.size
  with Image.open(folder / "images" / first) as image:
    image.resize(size).save(folder / "images" / first)
  content["images"][0] |= {"width": size[0], "height": size[1]}
  shutil.copy(folder / "images" / first, folder / "images" / last)
  report = doctor.examine(folder)
  what = "in several splits" if names == ("train", "val") else "the same bytes"
  found = [f for f in report.findings if what in f.what]
  assert found and first in found[0].cases[0] and last in found[0].cases[0]


def test_labels_of_other_tools_are_examined(photographs, tmp_path, capsys):
  source = photographs / "mouse_openfield"
  shutil.copytree(source / "images", tmp_path / "images")
  out = tmp_path / "CollectedData_me.csv"
  arguments = [
    str(source / "annotations.json"),
    "--to",
    "deeplabcut",
    "--out",
    str(out),
  ]
  assert main.main(["data", "convert", *arguments]) == 0
  assert main.main(["data", "doctor", str(out)]) == 0
  told = capsys.readouterr().out
  assert "table of keypoints" in told and "leftear = rightear" in told


def test_known_traps_are_told(folder):
  content = _content(folder)
  content["categories"][0]["name"] = "amur_tiger_body"
  path = _image(folder)
  path.rename(path.with_name("carfusion_1.png"))
  content["images"][0]["file_name"] = "carfusion_1.png"
  (folder / "annotations.json").unlink()
  (folder / "annotations").mkdir()
  (folder / "annotations" / "mp100_split1_test.json").write_text(json.dumps(content))
  report = doctor.examine(folder)
  text = doctor.text(report)
  assert report.kind == "MP-100"
  assert "human faces" in text and "CarFusion" in text


def test_another_release_of_animal_pose_is_told(folder):
  (folder / "annotations.json").rename(folder / "animal_pose_dataset.json")
  report = doctor.examine(folder)
  assert report.kind == "animal_pose"
  assert "4666" in doctor.text(report)


def test_what_is_not_there_is_named(tmp_path, capsys):
  assert main.main(["data", "doctor", str(tmp_path / "nowhere")]) == 2
  assert "nowhere" in capsys.readouterr().err
  assert main.main(["data", "doctor", str(tmp_path)]) == 2
  assert "no labels of a known kind" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mouse_openfield", "reaching_hand"])
def test_real_folders_have_no_errors(photographs, name):
  assert not doctor.examine(photographs / name).has_errors
