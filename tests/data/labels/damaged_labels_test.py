"""Labels that are hostile or damaged: refused in one line, or kept letter by letter."""

import json
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from helpers.label_formats import WRITTEN, write
from PIL import Image

from fskd_jax import files
from fskd_jax.cli import main
from fskd_jax.data import annotations, coco_file, names
from fskd_jax.data.checks import doctor
from fskd_jax.data.labels import formats, h5, xml_file
from fskd_jax.pose import coco as pose_coco
from fskd_jax.pose.detections import read_detections
from fskd_jax.prediction import box_files, keypoint_files

HUGE = int("1" + "0" * 400)


def _coco(file_name="a.png", keypoints=("nose",), **image):
  return {
    "images": [{"id": 1, "file_name": file_name, "width": 9, "height": 8} | image],
    "categories": [{"id": 1, "name": "cat", "keypoints": [*keypoints]}],
    "annotations": [
      {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 4, 4],
        "keypoints": [1, 2, 2] * len(keypoints),
      }
    ],
  }


def _write(path, content):
  path.parent.mkdir(exist_ok=True)
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


def _image(path):
  path.parent.mkdir(exist_ok=True)
  Image.new("RGB", (9, 8)).save(path)
  return path


@pytest.fixture
def private(tmp_path):
  return _image(tmp_path / "private" / "secret.png")


@pytest.fixture(params=["dots", "absolute", "link", "linked folder"])
def outside(request, tmp_path, private):
  """A folder of COCO whose image is outside it."""
  root = tmp_path / "data"
  (root / "images").mkdir(parents=True)
  name = {"dots": "../../private/secret.png", "absolute": str(private)}.get(
    request.param, "a.png"
  )
  if request.param == "link":
    (root / "images" / name).symlink_to(private)
  if request.param == "linked folder":
    name = "more/secret.png"
    (root / "images" / "more").symlink_to(private.parent)
  assert (root / "images" / name).is_file()
  _write(root / "annotations.json", _coco(name))
  return root


def test_no_reader_opens_an_image_outside_its_folder(outside, tmp_path, capsys):
  refused = pytest.raises((ValueError, FileNotFoundError), match="out of|are not in")
  with refused:
    annotations.read_coco(outside)
  with refused:
    read_detections(outside / "annotations.json", outside, ["nose"])
  assert doctor.examine(outside).has_errors
  source, out = str(outside / "annotations.json"), tmp_path / "out.json"
  images = ["--images", str(outside / "images")]
  arguments = ["data", "convert", source, "--out", str(out), *images]
  assert main.main(arguments) == 2
  assert capsys.readouterr().err.count("\n") == 1 and not out.exists()


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_read(tmp_path):
  _image(tmp_path / "elsewhere" / "b.png")
  (tmp_path / "elsewhere" / "a.png").symlink_to(tmp_path / "elsewhere" / "b.png")
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "images").symlink_to(tmp_path / "elsewhere")
  _write(tmp_path / "data" / "annotations.json", _coco())
  assert annotations.read_coco(tmp_path / "data").image_names == ("a.png",)


def test_files_of_labelme_are_not_followed_out_of_their_folder(tmp_path):
  away = _write(tmp_path / "away" / "x.json", {"shapes": [], "imagePath": "a.png"})
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "a.json").symlink_to(away)
  with pytest.raises(ValueError, match="links out of the folder: a.json"):
    formats.read(tmp_path / "folder")
  assert formats.read(away).images[0].name == "a.png"  # named by the user


def test_a_pipe_is_not_waited_for(tmp_path):
  (tmp_path / "folder").mkdir()
  os.mkfifo(tmp_path / "folder" / "a.json")
  for path in (tmp_path / "folder", tmp_path / "folder" / "a.json"):
    with pytest.raises((FileNotFoundError, ValueError), match="expected|is no file"):
      formats.read(path)


def _sleap(path, shape=(1, 2, 2, 3), nodes=(b"a", b"b"), **more):
  with h5py.File(path, "w") as file:
    file.create_dataset("tracks", shape=shape, dtype="f8", fillvalue=np.nan, **more)
    file["node_names"] = [*nodes]
  return path


def _pandas(path, rows, columns):
  with h5py.File(path, "w") as file:
    group = file.create_group("df")
    group.attrs.update(pandas_type="frame", nblocks=0)
    for axis, count in (("axis0", columns), ("axis1", rows)):
      group.attrs[axis + "_variety"] = "regular"
      group.create_dataset(axis, shape=(count,), dtype="i4", chunks=(min(count, 1000),))
  return path


@pytest.mark.parametrize(
  "frames, message", [(2**50, "larger than 1 GiB"), (20_000_000, "20000000 frames")]
)
def test_tracks_are_refused_by_their_declared_size(frames, message, tmp_path):
  path = _sleap(tmp_path / "a.h5", (1, 2, 2, frames), chunks=(1, 2, 2, 1000))
  assert path.stat().st_size < 10_000
  tracemalloc.start()
  with pytest.raises(ValueError, match=message) as error:
    formats.read(path)
  assert tracemalloc.get_traced_memory()[1] < 10e6 and str(path) in str(error.value)
  tracemalloc.stop()


def test_tables_are_refused_by_their_declared_size(tmp_path):
  for rows, columns, message in (
    (40_000, 40_000, "larger than 1 GiB"),
    (10**12, 3, "declares the shape"),
  ):
    path = _pandas(tmp_path / f"{rows}.h5", rows, columns)
    with pytest.raises(ValueError, match=message):
      formats.read(path)


def test_tracks_are_read_in_blocks_and_empty_frames_are_images(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  tracks = rng.uniform(0, 100, (3, 2, 2, 50))
  tracks[rng.random(tracks.shape) < 0.6] = np.nan
  tracks[..., 7] = np.nan
  path = tmp_path / "a.h5"
  with h5py.File(path, "w") as file:
    file["tracks"], file["node_names"] = tracks, [b"a", b"b"]
  monkeypatch.setattr(formats.sleap, "_BLOCK", 100)  # 8 frames
  images = formats.read(path).images
  assert [image.name for image in images] == [*range(50)]
  for frame, image in enumerate(images):
    expected = []
    for track in tracks[..., frame]:
      points = {n: tuple(p) for n, p in zip("ab", track.T) if not np.isnan(p).any()}
      expected += [points] if points else []
    found = [{n: p[:2] for n, p in o.keypoints.items()} for o in image.objects]
    assert found == expected


def _external_link(file, other):
  del file["tracks"]
  file["tracks"] = h5py.ExternalLink(other, "tracks")


def _soft_link(file, other):
  file.move("tracks", "x")
  file["tracks"] = h5py.SoftLink("/x")


def _virtual(file, other):
  del file["tracks"]
  layout = h5py.VirtualLayout((1, 2, 2, 3), "f8")
  layout[:] = h5py.VirtualSource(other, "tracks", (1, 2, 2, 3))
  file.create_virtual_dataset("tracks", layout)


def _external_storage(file, other):
  del file["tracks"]
  where = [(str(other), 0, 96)]
  file.create_dataset("tracks", shape=(1, 2, 2, 3), dtype="f8", external=where)


@pytest.mark.parametrize(
  "change, message",
  [
    (_external_link, "is a link, which is not followed"),
    (_soft_link, "is a link, which is not followed"),
    (_virtual, "keeps its values in other files"),
    (_external_storage, "keeps its values in other files"),
  ],
)
def test_hdf5_is_not_followed_into_other_files(change, message, tmp_path):
  other, path = _sleap(tmp_path / "other.h5"), _sleap(tmp_path / "a.h5")
  with h5py.File(path, "a") as file:
    change(file, other)
  with pytest.raises(ValueError, match=message) as error:
    formats.read(path)
  assert str(path) in str(error.value)


def test_a_frame_of_pandas_is_not_followed_into_another_file(tmp_path):
  other = _pandas(tmp_path / "other.h5", 3, 3)
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["df"] = h5py.ExternalLink(other, "df")
  with pytest.raises(ValueError, match="is a link, which is not followed"):
    formats.read(tmp_path / "a.h5")


def _no_edge(file):
  file["edge_names"] = np.array([[b"a", b"tail"]])


def _numbers(file):
  del file["node_names"]
  file["node_names"] = [1, 2]


@pytest.mark.parametrize(
  "change, message",
  [(_no_edge, r"edges .*\('a', 'tail'\)"), (_numbers, "int64, expected texts")],
)
def test_faults_of_sleap(change, message, tmp_path):
  path = _sleap(tmp_path / "a.h5")
  with h5py.File(path, "a") as file:
    change(file)
  with pytest.raises(ValueError, match=message):
    formats.read(path)


def test_two_nodes_of_one_name_are_refused(tmp_path):
  with pytest.raises(ValueError, match="two nodes have the same name"):
    formats.read(_sleap(tmp_path / "a.h5", nodes=(b"a", b"a")))


def test_a_block_of_pandas_must_have_the_shape_of_its_axes(tmp_path):
  path = tmp_path / "a.h5"
  labels = formats.read(_write(tmp_path / "a.json", _coco()))
  formats.FORMATS["deeplabcut-h5"].write(labels, path, path)
  assert formats.read(path).images[0].objects[0].keypoints["nose"][:2] == (1, 2)
  with h5py.File(path, "a") as file:
    group = file["df_with_missing"]
    del group["block0_values"]
    group["block0_values"] = [[3.0]]  # which NumPy would spread over the table
    group["block0_values"].attrs["transposed"] = 1
  with pytest.raises(
    ValueError, match=r"the shape \(1, 1\), but its axes are \(1, 2\)"
  ):
    formats.read(path)


LAUGHS = """<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "x">]>
<annotations><image name="&a;" width="9" height="8"/></annotations>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a SYSTEM "{}">]>
<annotations><image name="i" width="9" height="8">&a;</image></annotations>"""


def test_xml_with_entities_or_too_deep_is_refused(tmp_path, monkeypatch):
  for text, message in (
    (LAUGHS, "document type"),
    (EXTERNAL.format(tmp_path / "secret"), "document type"),
    ("<!DOCTYPE a><annotations/>", "document type"),
    ("<a>" * 100_000, "nested in more than"),
    ("<a" + " a" * 10, "not valid XML"),
  ):
    path = _write(tmp_path / "a.xml", text)
    with pytest.raises(ValueError, match=message) as error:
      formats.read(path)
    assert str(path) in str(error.value)
  monkeypatch.setattr(xml_file, "_MOST_BYTES", 10)
  with pytest.raises(ValueError, match="larger than"):
    formats.read(path)


@pytest.mark.parametrize(
  "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900]
)
def test_deep_json_is_refused_by_every_reader(text, tmp_path):
  path = _write(tmp_path / "annotations.json", text)
  for read in (
    formats.read,
    coco_file.examine,
    lambda path: keypoint_files.read(path, "a.png"),
    lambda path: box_files.read(str(path), [], 1),
  ):
    with pytest.raises(ValueError) as error:
      read(path)
    assert str(path) in str(error.value) and len(str(error.value)) < 500
  value = json.loads("[" * 900 + "]" * 900)
  content = _coco() | {"categories": [{"id": 1, "name": value, "keypoints": value}]}
  with pytest.raises(ValueError, match="name is"):
    formats.read(_write(path, content))


def test_numbers_that_no_computer_number_holds(tmp_path):
  path = tmp_path / "a.json"
  digits = "1" + "0" * 5000  # more than Python parses
  plain = {"keypoints": {"nose": [1, 2]}, "box": [0, 0, 1, 1]}
  for content, message in (
    (_coco(width=HUGE), "width is inf"),
    (_coco(width=10**30), "width is 1e[+]30"),
    (_coco(id=2**63), "id is 9.2.*e[+]18, expected an integer"),
    (_coco(id=-HUGE), "id is -inf"),
    ({"keypoints": {"nose": [HUGE, 2]}}, r"'nose' is \[inf, 2\]"),
    (json.dumps(plain).replace("[0,", f"[{digits},"), r"box is \[inf, 0, 1, 1\]"),
    ({"shapes": [{"label": "n", "points": [[HUGE, 1]]}]}, "'n' is inf"),
  ):
    with pytest.raises(ValueError, match=message) as error:
      keypoint_files.read(_write(path, content), "a.png")
    assert str(path) in str(error.value)
  with pytest.raises(ValueError, match=r"'g.png' is \[0, 0, inf, 1\]"):
    box_files.read(str(_write(path, {"g.png": [0, 0, HUGE, 1]})), [], 1)
  exact = [2**63 - 1, -(2**63), 123456789012345678]
  assert files.read_json(_write(path, exact)) == exact


def test_crowds_are_checked_before_they_are_compared_with(tmp_path):
  _image(tmp_path / "images" / "a.png")
  crowd = {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 1, 1]}
  for change in (
    {"bbox": [0, 0, HUGE, 1]},
    {"bbox": 3},
    {"area": "x"},
    {"image_id": []},
  ):
    content = _coco()
    content["annotations"].append(crowd | change)
    path = _write(tmp_path / "annotations.json", content)
    with pytest.raises(ValueError, match=str(tmp_path)):
      pose_coco.ground_truth(tmp_path, ["nose"])
  content["annotations"][1] = crowd
  _write(path, content)
  assert len(pose_coco.ground_truth(tmp_path, ["nose"])["annotations"]) == 2


CSV = "scorer,me,me\nbodyparts,{0},{0}\ncoords,x,y\n{1},{2},2\n"


@pytest.mark.parametrize("cell", ["1_0", "١", "²", "0x1", "1e", "1 0"])
def test_cells_that_are_no_plain_numbers(cell, tmp_path):
  for text in (CSV.format("nose", "a.png", cell), f"image,n.x,n.y\na.png,{cell},2\n"):
    with pytest.raises(ValueError, match="expected numbers"):
      formats.read(_write(tmp_path / "a.csv", text))
  image = f'<image name="a" width="9" height="8"><points label="n" points="{cell},1"/>'
  path = _write(tmp_path / "a.xml", f"<annotations>{image}</image></annotations>")
  with pytest.raises(ValueError, match="expected a finite number"):
    formats.read(path)


@pytest.mark.parametrize("name", ["²", "٣", "9" * 5000, "12345678901234567890"])
def test_what_is_no_number_of_a_frame_is_a_name_or_refused(name, tmp_path):
  # The score beside it is a whole number, too, but not of a frame.
  path = _write(tmp_path / "a.csv", f"frame_idx,score,n.x,n.y\n{name},7,1,2\n")
  if len(name) > 4096:
    with pytest.raises(ValueError, match=f"{path}.*5000 letters"):
      formats.read(path)
  else:
    assert formats.read(path).images[0].name == name


@pytest.mark.parametrize("target", WRITTEN)
@pytest.mark.parametrize("name", [" a ", "a\u200b", "b  c", "é", "a.b", "x"])
def test_names_come_back_letter_by_letter(target, name, tmp_path):
  labels = formats.read(_write(tmp_path / "a.json", _coco("a 1.png", [name, "c"])))
  out = tmp_path / ("out" + formats.FORMATS[target].suffix)
  write(target, labels, out)
  found = formats.read(out)
  assert [*found.categories.values()][0].keypoints == (name, "c")
  [marks] = [o.keypoints for image in found.images for o in image.objects]
  assert marks.keys() == {name, "c"}


@pytest.mark.parametrize(
  "name", ["", " ", "a\0", "a\n", "\x1b[2J", "\x85", "\ud800", "\uffff", "a" * 201]
)
def test_names_that_files_cannot_hold_are_refused(name, tmp_path):
  labelme = {"shapes": [{"label": name, "points": [[1, 1]]}], "imagePath": "a.png"}
  many = [_coco(keypoints=[name]), labelme, {name: [1, 2]}]
  many.append(_coco() | {"categories": [{"id": 1, "name": name, "keypoints": ["a"]}]})
  if len(name) < 200:
    many.append(_coco(name))
  for content in many:
    path = _write(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match="name.*(blank|printable|200)") as error:
      keypoint_files.read(path, "a.png")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
  assert names.name_problem("a" * 200) is None


def test_a_column_without_its_partner_is_told(tmp_path):
  path = _write(tmp_path / "a.csv", "image,nose.x, nose.y,b.x,b.y\na.png,1,2,3,4\n")
  with pytest.raises(ValueError, match="without the other: 'nose'; ' nose'"):
    formats.read(path)


def test_sizes_that_are_no_whole_numbers_are_not_rounded(tmp_path):
  for width in (40.5, "4_0", True, -3, HUGE):
    content = {"shapes": [], "imageWidth": width, "imageHeight": 30}
    assert formats.read(_write(tmp_path / "a.json", content)).images[0].size is None
  content = {"shapes": [], "imageWidth": "40", "imageHeight": 30.0}
  assert formats.read(_write(tmp_path / "a.json", content)).images[0].size == (40, 30)


def test_the_limits_are_those_of_the_writers(tmp_path):
  """What is written can be read back: frames beyond the limit are not written."""
  content = _coco(f"img{h5.MOST_ROWS}.png")
  path = _write(tmp_path / "a.json", content)
  assert main.main(
    ["data", "convert", str(path), "--out", str(tmp_path / "a.h5"), "--to", "sleap"]
  ) == 2  # fmt: skip
