"""Tables with a row for each keypoint, and exports of VIA as CSV."""

import json

import pytest

from fskd_jax.data.labels import kinds
from fskd_jax.data.labels.schema import Keypoint

ROWS = """image,keypoint,x,y,object,likelihood
a.png,nose,10.5,20,0,0.9
a.png,tail,30,40,0,
a.png,nose,50,60,1,
b.png,nose,,,0,
b.png,tail,7,8,0,
"""
OBJECTS = [
  ("a.png", {"nose": Keypoint(10.5, 20, confidence=0.9), "tail": Keypoint(30, 40)}),
  ("a.png", {"nose": Keypoint(50, 60)}),
  ("b.png", {"tail": Keypoint(7, 8)}),
]


def _objects(tmp_path, text, name="points.csv"):
  path = tmp_path / name
  path.write_text(text)
  labels = kinds.of(path).read(path, None)
  return [(i.name, found.keypoints) for i in labels.images for found in i.objects]


def test_rows_of_an_object_are_put_together(tmp_path):
  assert _objects(tmp_path, ROWS) == OBJECTS
  assert _objects(tmp_path, ROWS.replace(",", "\t"), "points.tsv") == OBJECTS
  columns = [line.split(",") for line in ROWS.splitlines()]
  turned = "\n".join(",".join(reversed(line)) for line in columns)
  assert _objects(tmp_path, turned) == OBJECTS


@pytest.mark.parametrize(
  ("flags", "occluded", "missing"),
  [("10", False, True), ("21", True, False), ("12", True, False), ("22", False, False)],
)
def test_visibility_counts_as_in_coco_or_says_yes_and_no(
  flags, occluded, missing, tmp_path
):
  rows = zip(("nose", "tail"), flags)
  text = "frame,label,X,Y,visible\n" + "".join(f"3,{n},1,2,{v}\n" for n, v in rows)
  ((frame, points),) = _objects(tmp_path, text)
  assert frame == 3 and (len(points) < 2) == missing
  assert any(point.occluded for point in points.values()) == occluded


def test_tables_of_makesense_have_no_header(tmp_path):
  text = "nose,10,20,a.png,64,48\ntail,30,40,a.png,64,48\n"
  path = tmp_path / "labels.csv"
  path.write_text(text)
  (image,) = kinds.of(path).read(path, None).images
  assert image.size == (64, 48)
  assert image.objects[0].keypoints == {
    "nose": Keypoint(10, 20),
    "tail": Keypoint(30, 40),
  }


def test_a_table_with_a_column_for_each_keypoint_may_have_a_column_x(tmp_path):
  text = "image,x,y,nose_x,nose_y\na.png,1,2,3,4\n"
  assert _objects(tmp_path, text) == [("a.png", {"nose": Keypoint(3, 4)})]


@pytest.mark.parametrize(
  ("text", "problem"),
  [
    (ROWS.replace("keypoint", "kind"), "no column tells which keypoint a row is"),
    ("Label,X,Y\na.png,1,2\n", "no column tells which keypoint a row is"),  # ImageJ
    (ROWS.replace("a.png", ""), "no column names the image"),
    (ROWS.replace(",1,", ",0,"), "has the keypoint 'nose' twice"),
    (ROWS.replace("tail", ""), "without the keypoint's name"),
    (ROWS.replace("10.5", "left"), "expected numbers"),
    (ROWS.replace("10.5", "inf"), "infinite coordinate"),
  ],
)
def test_what_cannot_be_told_is_refused(text, problem, tmp_path):
  with pytest.raises(ValueError, match=problem):
    _objects(tmp_path, text)


def test_an_export_of_via_as_csv_means_the_same_as_its_json(tmp_path):
  def region(name, x, y):
    return {
      "shape_attributes": {"name": "point", "cx": x, "cy": y},
      "region_attributes": {"name": name},
    }

  entries = {
    "a": {"filename": "a.png", "regions": [region("nose", 1, 2), region("tail", 3, 4)]},
    "b": {"filename": "b.png", "regions": []},
  }
  lines = ["filename,file_size,region_shape_attributes,region_attributes"]
  for entry in entries.values():
    for found in entry["regions"] or [
      {"shape_attributes": {}, "region_attributes": {}}
    ]:
      texts = [json.dumps(found[k]).replace('"', '""') for k in sorted(found)[::-1]]
      lines.append(f'{entry["filename"]},9,"{texts[0]}","{texts[1]}"')
  found = _objects(tmp_path, "\n".join(lines))
  assert found == _objects(tmp_path, json.dumps(entries), "via.json")
  assert found == [("a.png", {"nose": Keypoint(1, 2), "tail": Keypoint(3, 4)})]
  with pytest.raises(ValueError, match="via.csv"):
    _objects(tmp_path, "\n".join(lines).replace("cx", '"cx'), "via.csv")
