"""The JSON of the page, and the labels that it becomes."""

import copy

import numpy as np
import pytest
from helpers.demo_page import marked, png, point

from fskd_jax.data.labels import formats
from fskd_jax.demo import marks
from fskd_jax.demo.gallery import Gallery


@pytest.fixture
def shelf(tmp_path):
  for name in ("img01.png", "img02.png", "img03.png"):
    (tmp_path / name).write_bytes(png())
  return Gallery(tmp_path)


def _content(shelf):
  first, second, third = shelf.folder
  points = {"nose": point(3.25, 4), "ear": point(20, 9, hidden=True)}
  points["tail"] = point(30.5, 22)
  found = {"nose": point(5, 6), "tail": point(31, 20, sure=0.75)}
  return marked(
    ("nose", "ear", "tail"),
    {first: (points, None), second: (found, [2.0, 3.0, 33.0, 24.0]), third: ({}, None)},
    [["nose", "ear"]],
  )


def test_a_file_holds_all_that_was_marked(shelf, tmp_path):
  content = _content(shelf)
  out = tmp_path / "labels.json"
  marks.write(marks.from_json(content, shelf), "coco", out)
  found = marks.from_labels(out, shelf)
  del content["pictures"][[*shelf.folder][2]]  # without marks
  assert found == content | {"species": "object"}
  marks.write(marks.from_json(found, shelf), "coco", tmp_path / "again.json")
  assert out.read_text() == (tmp_path / "again.json").read_text()


@pytest.mark.parametrize("kind", [k for k in formats.FORMATS if k not in ("slp",)])
def test_every_format_can_be_saved(shelf, tmp_path, kind):
  out = tmp_path / f"labels{formats.FORMATS[kind].suffix}"
  marks.write(marks.from_json(_content(shelf), shelf), kind, out)
  read = formats.read(out)
  images = [image for image in read.images if image.objects]
  assert len(images) == 2
  nose = images[0].objects[0].keypoints["nose"]
  np.testing.assert_allclose((nose.x, nose.y), (3.25, 4), atol=0.01)
  tail = images[1].objects[0].keypoints.get("tail")
  if kind == "deeplabcut-project":
    assert [*out.rglob("machinelabels-iter0.csv")]  # what DeepLabCut refines
  elif "confidence" in formats.FORMATS[kind].keeps:
    assert tail.confidence == pytest.approx(0.75)
  else:
    assert tail is None  # nobody accepted it


def test_two_points_give_no_box(shelf):
  content = _content(shelf)
  first, second, _ = marks.from_json(content, shelf).pictures
  assert first.object_box() == pytest.approx((0, 0, 38.75 + 0.0, 30), abs=1.3)
  assert second.object_box() == (2, 3, 33, 24)
  assert second._replace(box=None).object_box() == (0, 0, 40, 30)
  assert second._replace(box=None, points={}).object_box() is None


def _changed(content, *path, to):
  content = copy.deepcopy(content)
  at = content
  for step in path[:-1]:
    at = at[step]
  at[path[-1]] = to
  return content


def test_nonsense_is_refused_in_words(shelf):
  content = _content(shelf)
  first = [*shelf.folder][0]
  nose = "pictures", first, "points", "nose"
  for wrong in (
    None,
    [],
    {},
    _changed(content, "names", to=7),
    _changed(content, "names", to=["nose"] * 2),
    _changed(content, "names", to=["nose"]),
    _changed(content, "names", to=["x" * 10_000]),
    _changed(content, "names", 0, to="a\nb"),
    _changed(content, "skeleton", to=[["nose"]]),
    _changed(content, "skeleton", to=[["nose", "wing"]]),
    _changed(content, "pictures", to=[1]),
    _changed(content, *nose, to=None),
    _changed(content, *nose, "x", to="3"),
    _changed(content, *nose, "x", to=float("nan")),
    _changed(content, *nose, "sure", to=[]),
    _changed(content, "pictures", first, "box", to=[1, 2, 3]),
    _changed(content, "pictures", first, "box", to=[1, 2, 0, 3]),
  ):
    with pytest.raises(ValueError):
      marks.from_json(wrong, shelf)
  with pytest.raises(LookupError):
    marks.from_json(_changed(content, "pictures", "0" * 32, to={"points": {}}), shelf)
  with pytest.raises(ValueError, match="Nothing is marked"):
    marks.to_labels(marks.from_json(marked(["nose"], {}), shelf))


def test_labels_that_the_page_would_damage_are_refused(shelf, tmp_path):
  out = tmp_path / "labels.json"
  marks.write(marks.from_json(_content(shelf), shelf), "coco", out)
  text = out.read_text()
  out.write_text(text.replace("img02", "other"))
  with pytest.raises(ValueError, match="other.png"):
    marks.from_labels(out, shelf)
  out.write_text(text.replace('"image_id": 2', '"image_id": 1'))
  with pytest.raises(ValueError, match="several objects.*img01"):
    marks.from_labels(out, shelf)


def test_pictures_of_equal_names_are_told_apart():
  shelf = Gallery()
  keys = [shelf.add(n, png(seed=i)).key for i, n in enumerate(("a.png", "b.png") * 2)]
  content = marked(["nose"], {key: ({"nose": point(1, 2)}, None) for key in keys})
  labels = marks.to_labels(marks.from_json(content, shelf))
  names = [image.name for image in labels.images]
  assert names == ["1/a.png", "2/b.png", "3/a.png", "4/b.png"]
