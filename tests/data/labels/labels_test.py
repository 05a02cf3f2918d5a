"""Labels of annotation tools: each format said by hand, and there and back."""

import json

import h5py
import numpy as np
import pytest
from helpers import label_formats
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data import annotations
from fskd_jax.data.labels import completion, formats, label_studio, schema
from fskd_jax.prediction import keypoint_files

SIZE = (40, 30)
NAMES = ["nose", "left eye", "right eye"]
TARGETS = {
  "deeplabcut": "CollectedData_me.csv",
  "deeplabcut-h5": "CollectedData_me.h5",
  "lightning-pose": "lp.csv",
  "sleap": "analysis.h5",
  "labelme": "labelme",
  "label-studio": "tasks.json",
  "cvat": "cvat.xml",
  "yolo-pose": "yolo",
  "deeplabcut-project": "project",
}


def _annotation(number, image, keypoints, box=(1, 2, 30, 20)):
  return {
    "id": number,
    "image_id": image,
    "category_id": 5,
    "bbox": [*box],
    "keypoints": keypoints,
  }


COCO = {
  "images": [
    {"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
    for i, name in ((7, "clip/img007.png"), (8, "clip/img012.png"), (9, "img000.png"))
  ],
  "categories": [
    {"id": 5, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
  ],
  "annotations": [
    _annotation(1, 7, [10.25, 20.5, 2, 0, 0, 0, 3.125, 4, 1]),
    _annotation(2, 8, [0, 0, 0, 39.5, 29.5, 2, -0.5, -0.5, 2], (0, 0, 40, 30)),
  ],
}
"""With all visibilities, the corners of the image, and an image without an object."""


@pytest.fixture
def images(tmp_path):
  for entry in COCO["images"]:
    path = tmp_path / "images" / entry["file_name"]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(path)
  return tmp_path / "images"


@pytest.fixture
def coco(tmp_path):
  path = tmp_path / "coco.json"
  path.write_text(json.dumps(COCO))
  return path


def _convert(source, out, *more):
  return main.main(["data", "convert", str(source), "--out", str(out), *map(str, more)])


def _content(path):
  """Returns {image: [(species, box, {name: (x, y, v)})]} of a COCO file, and names."""
  content = json.loads(path.read_text())
  files = {entry["id"]: entry["file_name"] for entry in content["images"]}
  categories = {entry["id"]: entry for entry in content["categories"]}
  found = {name: [] for name in files.values()}
  for entry in content["annotations"]:
    category = categories[entry["category_id"]]
    values, points = entry["keypoints"], {}
    for i, name in enumerate(category["keypoints"]):
      points[name] = tuple(values[3 * i : 3 * i + 3])
    found[files[entry["image_id"]]].append((category["name"], entry["bbox"], points))
  return found, [entry["keypoints"] for entry in content["categories"]]


@pytest.mark.parametrize("target", TARGETS)
def test_there_and_back(target, coco, images, tmp_path, capsys):
  middle, back = tmp_path / TARGETS[target], tmp_path / "back.json"
  assert _convert(coco, middle, "--to", target) == 0
  assert _convert(
    middle, back, "--images", images, "--species", "cat", "--keypoints", ",".join(NAMES)
  ) == 0  # fmt: skip
  keeps = formats.FORMATS[target].keeps
  before, names = _content(coco)
  after, names_after = _content(back)
  assert names_after == names and after.keys() == before.keys()
  for name, objects in before.items():
    assert len(after[name]) == len(objects)
    for (species, box, points), (species_2, box_2, points_2) in zip(
      objects, after[name]
    ):
      assert species_2 == species and points_2.keys() == points.keys()
      assert box_2 == box or "boxes" not in keeps
      for keypoint, (x, y, v) in points.items():
        if v == 1 and "occlusion" not in keeps:
          v = 2
        assert points_2[keypoint] == pytest.approx((x, y, v), abs=1e-9)
  said = capsys.readouterr().out
  assert ("1 occlusions (v = 1 becomes 2)" in said) == ("occlusion" not in keeps)
  assert ("2 boxes" in said) == ("boxes" not in keeps)


def test_what_comes_back_can_be_trained_on(coco, images, tmp_path):
  assert _convert(coco, tmp_path / "x.csv", "--to", "deeplabcut") == 0
  assert _convert(
    tmp_path / "x.csv", tmp_path / "annotations.json", "--images", images
  ) == 0  # fmt: skip
  dataset = annotations.read_coco(tmp_path)
  assert dataset.keypoint_names == tuple(NAMES) and dataset.species == ("object",)
  assert [i.visible.tolist() for i in dataset.instances] == [[1, 0, 1], [0, 1, 1]]


def test_labels_that_count_from_one_are_moved(images, tmp_path):
  content = json.loads(json.dumps(COCO))
  first, last = content["annotations"]
  first["bbox"] = [1, 1, *SIZE]
  last["keypoints"] = [1, 1, 2, 0, 0, 0, *SIZE, 1]
  source, out = tmp_path / "source.json", tmp_path / "out.json"
  source.write_text(json.dumps(content))
  assert _convert(source, out, "--images", images, "--from-one") == 0
  found, _ = _content(out)
  [(_, box, points)] = found["clip/img007.png"]
  [(_, _, corners)] = found["clip/img012.png"]
  assert box == [0, 0, *SIZE]
  assert points == dict(zip(NAMES, [(9.25, 19.5, 2), (0, 0, 0), (2.125, 3, 1)]))
  assert corners == dict(zip(NAMES, [(0, 0, 2), (0, 0, 0), (39, 29, 1)]))


@pytest.mark.parametrize("target", ["deeplabcut", "deeplabcut-h5", "sleap", "cvat"])
def test_several_objects_in_an_image(target, tmp_path, images):
  many = json.loads(json.dumps(COCO))
  many["annotations"].append(_annotation(3, 7, [1, 2, 2, 3, 4, 2, 5, 6, 2]))
  path = tmp_path / "many.json"
  path.write_text(json.dumps(many))
  assert _convert(path, tmp_path / TARGETS[target], "--to", target) == 0
  assert _convert(
    tmp_path / TARGETS[target], tmp_path / "back.json", "--images", images
  ) == 0  # fmt: skip
  before, after = _content(path)[0], _content(tmp_path / "back.json")[0]
  for name, objects in before.items():
    places = [{n: p[:2] for n, p in o[2].items()} for o in objects]
    assert [{n: p[:2] for n, p in o[2].items()} for o in after[name]] == places


# Every format by hand: cat 1 has a nose at (10, 20) and a right eye at (3.5, 4).
MULTI = """scorer,,,me,me,me,me,me,me
individuals,,,m1,m1,m2,m2,single,single
bodyparts,,,nose,nose,nose,nose,corner,corner
coords,,,x,y,x,y,x,y
labeled-data,clip,img007.png,10,20,1,2,3,4
labeled-data,clip,img012.png,,,5,6,3,4
"""
SINGLE = """scorer,me,me,me,me,me,me
bodyparts,nose,nose,left eye,left eye,right eye,right eye
coords,x,y,x,y,x,y
labeled-data/clip/img007.png,10,20,,,3.5,4
"""
FRAMES = SINGLE.replace("labeled-data/clip/img007.png", "7").replace(
  "x,y,x,y,x,y\n", "x,y,x,y,x,y\n0,1,1,1,1,1,1\n5,1,1,1,1,1,1\n"
)


def _shape(label, kind, points, **more):
  return {"label": label, "shape_type": kind, "points": points, **more}


LABELME = {
  "imagePath": "..\\clip\\img007.png",
  "imageWidth": 40,
  "imageHeight": 30,
  "shapes": [
    _shape("nose", "point", [[10.5, 20.5]], group_id=1),
    _shape("right eye", "point", [[4, 4.5]], group_id=1, flags={"occluded": True}),
    _shape("cat", "rectangle", [[31, 22], [1, 2]], group_id=1),
    _shape("outline", "polygon", [[1, 1], [2, 2], [3, 1]]),
  ],
}


def _region(kind, number, label, x, y, w=0.5, h=None, **more):
  value = {"x": x / 40 * 100, "y": y / 30 * 100, "width": w / 40 * 100, kind: [label]}
  value |= {} if h is None else {"height": h / 30 * 100, "rotation": 0}
  size = {"original_width": 40, "original_height": 30}
  return {"id": number, "type": kind, "value": value, "image_rotation": 0} | size | more


def _task(*results):
  url = "/data/upload/3/0a1b2c3d-img007.png"
  return [{"id": 1, "data": {"image": url}, "annotations": [{"result": [*results]}]}]


BOX = _region("rectanglelabels", "b", "cat", 1, 2, 30, 20)
TASKS = _task(
  BOX,
  _region("keypointlabels", "p", "nose", 10.5, 20.5, parentID="b"),
  _region("keypointlabels", "q", "right eye", 4, 4.5),
  {"type": "relation", "from_id": "q", "to_id": "b", "direction": "right"},
  _region("choices", "q", "occluded", 4, 4.5),
)
CVAT = """<?xml version="1.0"?><annotations><version>1.1</version>
<meta><task><labels>
<label><name>cat</name><type>skeleton</type></label>
<label><name>nose</name><parent>cat</parent></label>
<label><name>left eye</name><parent>cat</parent></label>
<label><name>right eye</name><parent>cat</parent></label>
<label><name>any</name></label></labels></task></meta>
<image id="0" name="clip/img007.png" width="40" height="30">
<skeleton label="cat" z_order="0">
<points label="right eye" outside="0" occluded="1" points="4.00,4.50"/>
<points label="left eye" outside="1" occluded="0" points="9,9"/>
<points label="nose" outside="0" occluded="0" points="10.50,20.50"/></skeleton>
<box label="any" xtl="1" ytl="2" xbr="31" ybr="22"/></image></annotations>"""
LOOSE = """<annotations><image name="clip/img007.png" width="40" height="30">
<points label="nose" points="10.5,20.5" group_id="3"/>
<points label="right eye" occluded="1" points="4,4.5" group_id="3"/>
<box label="cat" xtl="1" ytl="2" xbr="31" ybr="22" group_id="3"/>
<points label="nose" points="2,2" group_id="4"/></image></annotations>"""


def _write(tmp_path, name, content):
  path = tmp_path / name
  if callable(content):
    with h5py.File(path, "w") as file:
      content(file)
  else:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


def _sleap(file, order=(0, 1, 2, 3), **attributes):
  tracks = np.full((2, 2, 3, 13), np.nan)
  tracks[1, :, 0, 7], tracks[1, :, 2, 7] = (10, 20), (3.5, 4)
  tracks[0, :, 0, 5] = 1, 1  # a frame for which there is no image
  data = file.create_dataset("tracks", data=tracks.transpose(order))
  data.attrs.update(attributes)
  file["node_names"] = [name.encode() for name in NAMES]


def _sleap_of_sleap_io(file):
  _sleap(file, (3, 0, 2, 1), dims=json.dumps(["frame", "track", "node", "xy"]))


def _old_pandas(file):
  """As pandas writes an index of one level; the values not transposed."""
  group = file.create_group("df_with_missing")
  group.attrs.update(pandas_type=np.bytes_("frame"), nblocks=1, axis1_variety="regular")
  group["axis1"] = np.array([b"labeled-data\\clip\\img007.png"])
  for axis in ("axis0", "block0_items"):
    group.attrs.update({f"{axis}_variety": "multi", f"{axis}_nlevels": 3})
    for i, (name, level, labels) in enumerate(
      (
        ("scorer", [b"me"], [0] * 6),
        ("bodyparts", sorted(n.encode() for n in NAMES), [1, 1, 0, 0, 2, 2]),
        ("coords", [b"x", b"y"], [0, 1] * 3),
      )
    ):
      group[f"{axis}_level{i}"], group[f"{axis}_label{i}"] = np.array(level), labels
      group[f"{axis}_level{i}"].attrs["name"] = np.bytes_(name)
  group["block0_values"] = np.array([[10, 20, np.nan, np.nan, 3.5, 4]]).T


@pytest.mark.parametrize(
  "name, content",
  [
    ("a.csv", SINGLE),
    ("frames.csv", FRAMES),
    ("a.h5", _old_pandas),
    ("a.h5", _sleap),
    ("a.h5", _sleap_of_sleap_io),
    ("a.json", LABELME),
    ("a.json", TASKS),
    ("a.xml", CVAT),
    ("a.xml", LOOSE),
  ],
)
def test_every_format_says_the_same(name, content, images, tmp_path):
  path, out = _write(tmp_path, name, content), tmp_path / "out.json"
  assert _convert(path, out, "--images", images, "--species", "cat") == 0
  found, _ = _content(out)
  species, box, points = found["clip/img007.png"][0]
  marks = name.endswith((".json", ".xml"))
  assert species == "cat" and (box == [1, 2, 30, 20]) == marks
  assert points["nose"] == (10, 20, 2)
  assert points["right eye"] == (3.5, 4, 1 if marks else 2)
  assert points.get("left eye", (0, 0, 0)) == (0, 0, 0)
  # The same file is what `fskd predict` takes as support.
  marked = keypoint_files.read(path, "img007.png")[0]
  assert marked.keypoints["nose"] == pytest.approx((10, 20))
  assert marked.keypoints["right eye"] == pytest.approx((3.5, 4))


def test_species_of_cvat_may_share_names_of_keypoints(tmp_path):
  two = json.loads(json.dumps(COCO))
  two["categories"].append({"id": 6, "name": "dog", "keypoints": ["tail", *NAMES]})
  two["annotations"].append(
    _annotation(3, 9, [0, 0, 0] + [1, 2, 2] * 3) | {"category_id": 6}
  )
  path, middle = _write(tmp_path, "two.json", two), tmp_path / "a.xml"
  assert _convert(path, middle, "--to", "cvat") == 0
  assert _convert(middle, tmp_path / "back.json") == 0
  assert _content(tmp_path / "back.json") == _content(path)


def test_individuals_of_deeplabcut_and_what_belongs_to_none(images, tmp_path):
  out = tmp_path / "out.json"
  assert _convert(_write(tmp_path, "a.csv", MULTI), out, "--images", images) == 0
  found, names = _content(out)
  assert names == [["nose"], ["corner"]]
  kinds = {name: [species for species, _, _ in x] for name, x in found.items()}
  assert kinds["clip/img007.png"] == ["object", "object", "single"]
  assert kinds["clip/img012.png"] == ["object", "single"]
  assert found["clip/img012.png"][0][2] == {"nose": (5, 6, 2)}


def test_several_files_become_one(images, tmp_path):
  other = SINGLE.replace("img007", "img012").replace("left eye", "tail")
  paths = [_write(tmp_path, "a.csv", SINGLE), _write(tmp_path, "b.csv", other)]
  out = tmp_path / "out.json"
  more = ["--images", images, "--out", out]
  assert main.main(["data", "convert", *map(str, [*paths, *more])]) == 0
  found, names = _content(out)
  assert names == [[*NAMES, "tail"]]
  assert {name: len(x) for name, x in found.items()} == {
    "clip/img007.png": 1,
    "clip/img012.png": 1,
  }


def test_frames_are_images_by_number_and_others_are_left_out(images, tmp_path, capsys):
  path, out = _write(tmp_path, "a.h5", _sleap), tmp_path / "out.json"
  assert _convert(path, out, "--images", images) == 0
  # Frames 0, 7 and 12 have images; 5 has none.
  assert _content(out)[0].keys() == {e["file_name"] for e in COCO["images"]}
  assert "left out: 1 labelled images or frames" in capsys.readouterr().out


def test_made_boxes_surround_the_keypoints():
  points = {"a": schema.Keypoint(100, 100), "b": schema.Keypoint(300, 150)}
  image = schema.LabelledImage("a", (500, 165), (schema.LabelledObject(points),))
  done = completion.complete(schema.gather([image]), None, "x")
  (found,) = done.labels.images[0].objects
  assert done.made_boxes == 1 and found.box == (80.5, 80.5, 240, 84.5)
  one = schema.LabelledObject({"a": schema.Keypoint(20, 2)})
  image = schema.LabelledImage("a", (100, 100), (one,))
  (found,) = (
    completion.complete(schema.gather([image]), None, "x").labels.images[0].objects
  )
  assert found.box == (12.5, 0, 16, 10.5)


def test_a_turned_rectangle_becomes_the_upright_one_around_it(tmp_path):
  box = json.loads(json.dumps(BOX))
  box["value"] |= {"x": 50, "y": 0, "rotation": 90}
  path = _write(tmp_path, "a.json", _task(box))
  (found,) = formats.read(path).images[0].objects
  assert found.box == pytest.approx((0, 0, 20, 30))  # about its corner at (20, 0)


def test_label_studio_can_open_what_is_written(coco):
  interface = label_studio.interface(formats.read(coco))
  for number, name in enumerate(NAMES):
    assert f'<Label value="{name}" model_index="{number}"/>' in interface
  results = [
    result
    for found in formats.read(coco).images[0].objects
    for result in label_studio._results(found, "1", SIZE)
  ]
  for result in results:
    assert f'name="{result["from_name"]}" toName="{result["to_name"]}"' in interface


def _pandas_table(file):
  file.create_group("df_with_missing").attrs["pandas_type"] = np.bytes_("frame_table")


def _bad_tracks(file):
  file["tracks"], file["node_names"] = np.zeros((1, 3, 2, 4)), [b"a", b"b"]


FAULTS = {
  "empty": ("a.csv", "", "is empty"),
  "other suffix": ("a.txt", "x", "expected a folder of LabelMe, DeepLabCut"),
  "wrong header": ("a.csv", "a,b\n1,2\n", "expected a table of DeepLabCut"),
  "no number": ("a.csv", SINGLE.replace("10", "ten"), "'nose' is ['ten', '20']"),
  "infinite": ("a.csv", SINGLE.replace("10", "inf"), "infinite"),
  "only a header": ("a.csv", SINGLE[: SINGLE.index("labeled")], "has no images"),
  "two rows": ("a.csv", SINGLE + SINGLE[SINGLE.index("labeled") :], "two rows"),
  "column twice": ("a.csv", SINGLE.replace("left", "right"), "right eye, x occurs"),
  "outside": ("a.csv", SINGLE.replace("10", "41"), "'nose' at (41, 20), outside 40 x"),
  "other image": ("a.csv", SINGLE.replace("img007", "x"), "clip/x.png"),
  "other frames": ("a.csv", SINGLE.replace("labeled-data/clip/img007.png", "3"),
                   "no image is one of the 1 frames"),
  "no HDF5": ("a.h5", "x", "not an HDF5 file"),
  "table without rows": ("a.h5", _pandas_table, "no data set 'table'"),
  "no tracks": ("a.h5", lambda file: None, "no data set 'tracks'"),
  "other tracks": ("a.h5", _bad_tracks, "expected (track, 2, 2 nodes, frame)"),
  "no JSON": ("a.json", "{", "not valid JSON"),
  "no COCO": ("a.json", {"a": 1}, "JSON of no known format"),
  "COCO with NaN": ("a.json", json.dumps(COCO).replace("10.25", "NaN"), "finite"),
  "no shapes": ("a.json", {"shapes": 3}, "no list of shapes"),
  "nose twice": ("a.json", {**LABELME, "shapes": LABELME["shapes"][:1] * 2},
                 "'nose' occurs twice"),
  "which object": ("a.json", {**LABELME, "shapes": [
    *LABELME["shapes"][:2], _shape("tail", "point", [[1, 1]]),
    _shape("nose", "point", [[1, 1]], group_id=2)]}, "'tail' belongs to none of the 2"),
  "no point": ("a.json", {"shapes": [_shape("nose", "point", [[1, None]])]},
               "of 'nose' is None, expected a finite number"),
  "only boxes": ("a.json", {**LABELME, "shapes": LABELME["shapes"][2:]},
                 "has no keypoints"),
  "other size": ("a.json", {**LABELME, "imageWidth": 80}, "labelled with 80 x 30"),
  "no task": ("a.json", [{"image": "a.png"}], "with the keys ['image']"),
  "turned image": ("a.json", _task(BOX | {"image_rotation": 90}), "turned by 90"),
  "one image twice": ("a.json", TASKS * 2, "several entries are of one image"),
  "no XML": ("a.xml", "<a", "not valid XML"),
  "empty video": ("a.xml", "<annotations><track/></annotations>", "has no images"),
  "unknown label": ("a.xml", CVAT.replace('label="any"', 'label="dog"'),
                    "unknown label 'dog'"),
  "no pair": ("a.xml", CVAT.replace("4.00,4.50", "4,4,5"), "expected one x,y"),
  "NaN": ("a.xml", CVAT.replace("4.00", "nan"), "is 'nan', expected a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_in_one_line_and_nothing_is_written(
  name, images, tmp_path, capsys
):
  file, content, message = FAULTS[name]
  path, out = _write(tmp_path, file, content), tmp_path / "out.json"
  assert _convert(path, out, "--images", images) == 2
  told = capsys.readouterr().err
  assert message in told and told.count("\n") == 1
  assert str(path) in told or str(images) in told
  assert not list(tmp_path.glob("out*"))


def test_what_the_command_line_gets_wrong(coco, images, tmp_path, capsys):
  csv = _write(tmp_path, "a.csv", SINGLE)
  (tmp_path / "there.json").write_text("mine")
  (tmp_path / "far" / "away").mkdir(parents=True)
  far = _write(tmp_path / "far" / "away", "a.csv", SINGLE)
  for arguments, message in (
    ((tmp_path / "none.csv", tmp_path / "o.json"), "there is no file or folder"),
    ((images, tmp_path / "o.json"), "expected a folder of"),
    ((csv, tmp_path / "there.json"), "exists already"),
    ((far, tmp_path / "o.json"), "name the folder of the images with --images"),
    ((csv, tmp_path / "o.json", "--images", tmp_path / "none"), "no folder"),
    ((csv, tmp_path / "o.csv", "--images", images), "expected a file .json for coco"),
    ((csv, tmp_path / "o.json", "--keypoints", "nose"), "unknown label 'left eye'"),
    ((csv, tmp_path / "o.json", "--keypoints", "nose,nose"), "occurs twice"),
    ((csv, tmp_path / "none" / "o.json", "--images", images), "there is no folder"),
  ):
    assert _convert(*arguments) == 2
    assert message in capsys.readouterr().err
  assert (tmp_path / "there.json").read_text() == "mine"
  assert not (tmp_path / "o.json").exists()


def test_images_are_found_near_the_labels(images, tmp_path, capsys):
  (tmp_path / "labeled-data" / "clip").mkdir(parents=True)
  Image.new("RGB", SIZE).save(tmp_path / "labeled-data" / "clip" / "img007.png")
  for place in (".", "images", "images/clip", "labeled-data/clip"):
    path, out = _write(tmp_path / place, "a.csv", SINGLE), tmp_path / "o.json"
    assert _convert(path, out) == 0
    assert [*_content(out)[0]][0].endswith("img007.png")
    assert f"images: those in {tmp_path}" in capsys.readouterr().out
    out.unlink()
  pattern = str(tmp_path / "*" / "a.csv")  # as a shell of Windows leaves it
  (tmp_path / "images" / "a.csv").unlink()
  assert _convert(pattern, tmp_path / "none.json") == 2
  assert "there is no file like" in capsys.readouterr().err
  _write(tmp_path / "labeled-data", "a.csv", SINGLE)
  assert _convert(pattern, tmp_path / "o.json") == 0


def test_what_does_not_fit_a_format(tmp_path, capsys):
  many = json.loads(json.dumps(COCO))
  many["annotations"].append(_annotation(3, 7, [1, 2, 2, 3, 4, 2, 5, 6, 2]))
  path = _write(tmp_path, "many.json", many)
  assert _convert(path, tmp_path / "a.csv", "--to", "lightning-pose") == 2
  assert "has 2 objects" in capsys.readouterr().err
  for names, message in (
    (("a.png", "b.png", "c.png"), "no number in its name"),
    (("a1.png", "b1.png", "c.png"), "both end in the number 1"),
    (("a1.png", "20250101120000.png", "a2.png"), "larger than 1 GiB"),
  ):
    entries = [e | {"file_name": n} for e, n in zip(COCO["images"], names)]
    path = _write(tmp_path, "x.json", COCO | {"images": entries})
    assert _convert(path, tmp_path / "a.h5", "--to", "sleap") == 2
    assert message in capsys.readouterr().err
  assert not list(tmp_path.glob("a.*"))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["mouse_openfield", "reaching_hand"])
@pytest.mark.parametrize("target", TARGETS)
def test_photographs_there_and_back(target, folder, photographs, tmp_path):
  source = photographs / folder / "annotations.json"
  before, out = formats.read(source), tmp_path / TARGETS[target]
  label_formats.write(target, before, out)
  after = completion.complete(
    formats.read(out), photographs / folder / "images", "x"
  ).labels
  found = {image.name: image for image in after.images}
  assert found.keys() == {image.name for image in before.images}
  for image in before.images:
    assert found[image.name].size == image.size
    pairs = [*zip(image.objects, found[image.name].objects, strict=True)]
    for one, other in pairs:
      assert one.keypoints.keys() == other.keypoints.keys()
      for name, point in one.keypoints.items():
        assert other.keypoints[name] == pytest.approx(point, abs=1e-9)


def test_every_format_is_tested():
  assert {*formats.FORMATS} == {*TARGETS, "coco", "slp"}  # see sleap_file_test.py
