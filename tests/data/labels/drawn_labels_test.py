"""Points and boxes as people draw them: CVAT's shapes, VIA, Supervisely, JSON-MIN."""

import json

import pytest
from PIL import Image

from fskd_jax.data.labels import formats, image_files, kinds
from fskd_jax.data.labels.schema import Keypoint

HEAD = "<annotations><version>1.1</version><meta><task><size>2</size></task></meta>"


def _cvat(tmp_path, inside, frames=False):
  image = '<image id="0" name="a.jpg" width="64" height="48">{}</image>'
  path = tmp_path / "annotations.xml"
  path.write_text(
    HEAD + (inside if frames else image.format(inside)) + "</annotations>"
  )
  return formats.read(path)


def _json(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))
  return path


def _places(found):
  return {name: (point.x, point.y) for name, point in found.keypoints.items()}


def test_cvat_several_points_in_a_shape_are_an_object(tmp_path):
  (image,) = _cvat(
    tmp_path,
    '<points label="estop" points="12.5,14.5;40.5,13.5"/>'
    '<points label="estop" points="12.5,34.5;40.5,33.5" occluded="1"/>'
    '<box label="estop" xtl="8" ytl="30" xbr="45" ybr="40"/>',
  ).images
  first, second = image.objects
  assert first.species == second.species == "estop"
  assert _places(first) == {"1": (12, 14), "2": (40, 13)} and first.box is None
  assert second.box == (8, 30, 37, 10) and second.keypoints["1"].occluded


def test_cvat_shapes_of_different_lengths_are_told(tmp_path, caplog):
  _cvat(
    tmp_path, '<points label="e" points="1,1;2,2"/><points label="e" points="3,3"/>'
  )
  assert "1 to 2 points" in caplog.text


def test_cvat_points_of_one_label_are_refused_with_the_reason(tmp_path):
  points = (
    '<points label="key_point" points="1,1"/><points label="key_point" points="2,2"/>'
  )
  with pytest.raises(ValueError, match="no keypoint has a name"):
    _cvat(tmp_path, points)


def _skeleton(label, x, y):
  points = (
    f'<points label="1" points="{x},{y}"/><points label="2" points="{x + 9},{y}"/>'
  )
  return f'<skeleton label="{label}">{points}</skeleton>'


def _box(label, x, y, side):
  return f'<box label="{label}" xtl="{x}" ytl="{y}" xbr="{x + side}" ybr="{y + side}"/>'


def test_cvat_boxes_without_a_group_belong_to_the_skeletons_in_them(tmp_path):
  pens = _skeleton("pen", 5, 5), _skeleton("pen", 40, 30)
  boxes = _box("box", 38, 25, 14), _box("box", 1, 1, 18)
  (image,) = _cvat(tmp_path, "".join((*pens, *boxes, _box("cup", 30, 1, 9)))).images
  assert [found.box for found in image.objects] == [
    (1, 1, 18, 18), (38, 25, 14, 14), (30, 1, 9, 9),
  ]  # fmt: skip
  assert [found.species for found in image.objects] == ["pen", "pen", "cup"]
  assert [len(found.keypoints) for found in image.objects] == [2, 2, 0]


def test_cvat_tracks_are_objects_of_frames(tmp_path, caplog):
  def frame(number, x, keyframe=1, outside=0):
    return (
      f'<skeleton frame="{number}" keyframe="{keyframe}" outside="{outside}">'
      f'<points label="nose" keyframe="{keyframe}" outside="0" points="{x},9.5"/>'
      '<points label="tail" outside="1" points="1,1"/></skeleton>'
    )

  tracks = (
    f'<track id="0" label="rat">{frame(0, 10.5)}{frame(1, 11.5, 0)}'
    f"{frame(2, 12.5)}</track>"
    f'<track id="1" label="rat">{frame(0, 30.5)}{frame(2, 32.5, 1, 1)}</track>'
  )
  labels = _cvat(tmp_path, tracks, frames=True)
  assert [image.name for image in labels.images] == [0, 2]
  assert [_places(found) for found in labels.images[0].objects] == [
    {"nose": (10, 9)}, {"nose": (30, 9)},
  ]  # fmt: skip
  assert [_places(found) for found in labels.images[1].objects] == [{"nose": (12, 9)}]
  assert "1 frames that CVAT interpolated" in caplog.text


def _region(x, y, **given):
  return {
    "shape_attributes": {"name": "point", "cx": x, "cy": y},
    "region_attributes": given,
  }


def _via(*regions):
  return {"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": [*regions]}}


def test_via_export_and_project(tmp_path):
  box = {"name": "rect", "x": 10, "y": 5, "width": 30, "height": 20}
  regions = _via(
    _region(12, 14, part="head", kind="x"),
    _region(30, 22, part="tail", kind="x", visibility="occluded"),
    {"shape_attributes": box, "region_attributes": {"kind": "cat"}},
  )
  keyed = {"a.jpg9": {**regions["a.jpg9"]}}
  keyed["a.jpg9"]["regions"] = dict(enumerate(regions["a.jpg9"]["regions"]))
  for content in (regions, keyed, {"_via_img_metadata": regions, "_via_settings": {}}):
    path = _json(tmp_path / "via.json", content)
    assert kinds.of(path).name == "VIA"
    (image,) = formats.read(path).images
    (found,) = image.objects
    assert (image.name, image.size, found.species) == ("a.jpg", None, "cat")
    assert found.box == (10, 5, 30, 20)
    assert found.keypoints == {
      "head": Keypoint(12, 14), "tail": Keypoint(30, 22, True),
    }  # fmt: skip


def test_via_points_without_names_are_numbered_and_groups_are_objects(tmp_path):
  path = _json(tmp_path / "via.json", _via(_region(1, 2), _region(3, 4)))
  (found,) = formats.read(path).images[0].objects
  assert _places(found) == {"1": (1, 2), "2": (3, 4)}
  pairs = [
    _region(i, 1, name=n, group=g) for i, (n, g) in enumerate(["ap", "bp", "aq"])
  ]
  labels = formats.read(_json(tmp_path / "via.json", _via(*pairs)))
  assert [_places(x) for x in labels.images[0].objects] == [
    {"a": (0, 1), "b": (1, 1)}, {"a": (2, 1)},
  ]  # fmt: skip
  path = _json(tmp_path / "via.json", _via(_region(1, 2, p="x", q="y")))
  with pytest.raises(ValueError, match="the attributes p, q"):
    formats.read(path)


META = {
  "classes": [
    {
      "title": "cone",
      "geometry_config": {
        "nodes": {
          "n1": {"label": "top"},
          "n2": {"label": "base"},
          "n3": {"label": "rim"},
        },
        "edges": [{"src": "n1", "dst": "n2"}],
      },
    }
  ]
}
NODES = {
  "n1": {"loc": [12, 14]},
  "n2": {"loc": [30.5, 22]},
  "n3": {"loc": [1, 1], "disabled": True},
}
GRAPH = {"classTitle": "cone", "geometryType": "graph", "nodes": NODES}


@pytest.mark.parametrize("given", ["", "ds", "ds/ann", "ds/ann/a.jpg.json"])
def test_supervisely(tmp_path, given, caplog):
  _json(tmp_path / "meta.json", META)
  box = {"exterior": [[10, 10], [40, 30]], "interior": []}
  cone = {"classTitle": "cone", "geometryType": "rectangle", "points": box}
  shapes = [GRAPH, cone, {"classTitle": "x", "geometryType": "bitmap"}]
  content = {"size": {"height": 48, "width": 64}, "objects": shapes}
  _json(tmp_path / "ds" / "ann" / "a.jpg.json", content)
  assert kinds.of(tmp_path / given).name == "Supervisely"
  labels = formats.read(tmp_path / given)
  (image,) = labels.images
  (found,) = image.objects
  assert image.name == ("ds/img/a.jpg" if given == "" else "img/a.jpg")
  assert _places(found) == {"top": (12, 14), "base": (30.5, 22)}
  assert found.box == (10, 10, 31, 21) and image.size == (64, 48)
  assert labels.categories["cone"].keypoints == ("top", "base", "rim")
  assert labels.categories["cone"].skeleton == (("top", "base"),)
  assert "1 'bitmap'" in caplog.text


def test_supervisely_nodes_need_their_names(tmp_path):
  content = {"size": {"height": 48, "width": 64}, "objects": [GRAPH]}
  path = _json(tmp_path / "ann" / "a.jpg.json", content)
  with pytest.raises(ValueError, match=r"'n1' of 'cone' has no name.*meta\.json"):
    formats.read(path)


def test_label_studio_json_min(tmp_path):
  common = {"original_width": 64, "original_height": 48}
  task = {
    "image": "/data/upload/1/abcdef12-a.jpg",
    "id": 3,
    "annotator": 1,
    "kp": [
      {"x": 25, "y": 50, "keypointlabels": ["nose"], **common},
      {"x": 50, "y": 25, "keypointlabels": ["tail"], **common},
    ],
    "bbox": [
      {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["cat"], **common}
    ],
  }
  path = _json(tmp_path / "min.json", [task])
  assert kinds.of(path).name == "Label Studio"
  (image,) = formats.read(path).images
  (found,) = image.objects
  assert found.species == "cat" and found.box == (0, 0, 32, 24)
  assert _places(found) == {"nose": (15.5, 23.5), "tail": (31.5, 11.5)}


def test_frames_in_order_where_no_name_has_a_number(tmp_path, caplog):
  for name in ("a.png", "b.png"):
    Image.new("RGB", (9, 9)).save(tmp_path / name)
  track = '<track id="0" label="r">{}</track>'
  shape = '<points frame="{}" keyframe="1" outside="0" points="1,1"/>'
  labels = _cvat(tmp_path, track.format(shape.format(0) + shape.format(1)), frames=True)
  found = image_files.find(labels, tmp_path)
  assert [image.name for image in found.images] == ["a.png", "b.png"]
  assert "in the order of their names" in caplog.text
