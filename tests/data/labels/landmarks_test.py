"""Landmarks of morphometrics and faces: TPS, .pts and the XML of dlib."""

import pytest
from PIL import Image

from fskd_jax.data.labels import imglab, pts, schema, tps
from fskd_jax.data.labels.schema import Keypoint

SIZE = (40, 30)
TPS = """LM=3
10 20
3.5 4.
-1 -1
IMAGE=a.png
ID=0
SCALE=0.01
LM=3
NA NA
1, 2
30,29.5
CURVES=1
POINTS=2
5 5
6 6
IMAGE=clip\\b.JPG
"""
PTS = "version: 1\nn_points: 2\n{\n11 21\n4.5 5\n}\n"
XML = """<?xml version='1.0' encoding='ISO-8859-1'?>
<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>
<dataset><name>faces</name><images>
<image file='clip\\a.png' width='40' height='30'>
<box top='1' left='2' width='30' height='20'><label>cat</label>
<part name='00' x='10' y='20'/><part name='02' x='3' y='4'/></box>
<box top='5' left='6' width='7' height='8'><label>cat</label></box>
<box top='0' left='0' width='9' height='9' ignore='1'/></image>
<image file='b.png'/></images></dataset>"""


@pytest.fixture
def images(tmp_path):
  for name in ("a.png", "clip/b.png"):
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(path)
  return tmp_path / "images"


@pytest.mark.parametrize("beside", [True, False])
def test_tps_counts_y_from_the_bottom(beside, images, tmp_path, caplog):
  path = tmp_path / "a.tps"
  path.write_text(TPS)
  labels = tps.read(path, None if beside else images)
  first, second = labels.images
  start = "images/" if beside else ""
  assert [i.name for i in labels.images] == [f"{start}a.png", f"{start}clip/b.png"]
  assert first.size == SIZE
  assert first.objects[0].keypoints == {"1": Keypoint(10, 10), "2": Keypoint(3.5, 26)}
  assert second.objects[0].keypoints == {"2": Keypoint(1, 28), "3": Keypoint(30, 0.5)}
  assert schema.keypoint_names(labels) == ("1", "2", "3")
  assert "CURVES are left out" in caplog.text


@pytest.mark.parametrize(
  "text, problem",
  [
    ("a b c", "no landmarks in it"),
    (TPS.replace("LM=3", "LM3=3", 1), "line 1: 'LM3=3', expected LM="),
    (TPS.replace("10 20", "10 20 30"), "'10 20 30', expected x y"),
    (TPS.replace("10 20", "ten 20"), "is 'ten'"),
    (TPS.replace("IMAGE=a.png", ""), "without a line IMAGE"),
    (TPS.replace("LM=3", "LM=99", 1), "99 landmarks, of which"),
  ],
)
def test_faults_of_tps_are_told(text, problem, images, tmp_path):
  path = tmp_path / "a.tps"
  path.write_text(text)
  with pytest.raises(ValueError, match=problem) as error:
    tps.read(path, images)
  assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_several_specimens_of_one_image_are_its_objects(images, tmp_path):
  path = tmp_path / "a.tps"
  path.write_text("LM=1\n1 2\nIMAGE=a.png\nLM=1\n3 4\nIMAGE=a.png\n")
  (image,) = tps.read(path, images).images
  assert [o.keypoints["1"] for o in image.objects] == [Keypoint(1, 28), Keypoint(3, 26)]


def test_images_that_are_not_there_are_named(tmp_path):
  path = tmp_path / "a.tps"
  path.write_text(TPS)
  with pytest.raises(FileNotFoundError, match="a.png.*--images"):
    tps.read(path)


def test_pts_counts_from_one(images):
  for name in ("a.pts", "clip/b.pts"):
    (images / name).write_text(PTS)
  labels = pts.read(images)
  assert [image.name for image in labels.images] == ["a.png", "clip/b.png"]
  for image in labels.images:
    expected = {"1": Keypoint(10, 20), "2": Keypoint(3.5, 4)}
    assert image.objects[0].keypoints == expected and image.size == SIZE
  assert [i.name for i in pts.read(images / "a.pts").images] == ["a.png"]


@pytest.mark.parametrize(
  "text, problem",
  [
    (PTS.replace("{", ""), "points in braces"),
    (PTS.replace("n_points: 2", "n_points: 3"), "2 points, but n_points is"),
    (PTS.replace("11 21", "11"), "'11', expected x y"),
    (PTS.replace("11", "nan"), "is 'nan'"),
  ],
)
def test_faults_of_pts_are_told(text, problem, images):
  (images / "a.pts").write_text(text)
  with pytest.raises(ValueError, match=problem) as error:
    pts.read(images)
  assert str(images / "a.pts") in str(error.value)


def test_parts_of_dlib_are_pixels(tmp_path):
  path = tmp_path / "a.xml"
  path.write_text(XML)
  first, second = imglab.read(path).images
  assert (first.name, first.size, second.objects) == ("clip/a.png", SIZE, ())
  face, bare = first.objects
  assert face.keypoints == {"00": Keypoint(10, 20), "02": Keypoint(3, 4)}
  assert (face.species, face.box) == ("cat", (2, 1, 30, 20))
  assert not bare.keypoints and bare.box == (6, 5, 7, 8)


@pytest.mark.parametrize(
  "old, new, problem",
  [
    ("name='02'", "name='00'", "'00' twice"),
    ("x='3'", "", "x of '02' is None"),
    ("top='1'", "top='one'", "top of a box is 'one'"),
  ],
)
def test_faults_of_dlib_are_told(old, new, problem, tmp_path):
  path = tmp_path / "a.xml"
  path.write_text(XML.replace(old, new))
  with pytest.raises(ValueError, match=problem) as error:
    imglab.read(path)
  assert str(path) in str(error.value)
