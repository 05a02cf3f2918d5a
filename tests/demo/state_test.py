"""The page of `fskd demo` without a browser: every change, and the numbers found."""

import json

import numpy as np
import pytest
from helpers.predictions import assert_same, of_points
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import formats
from fskd_jax.demo import drawing, examples, pictures, state
from fskd_jax.demo.state import Page
from fskd_jax.pictures.predictions import Marks, draw_marks
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.inputs import read_supports
from fskd_jax.prediction.load import load


def _pictures(*names, size=(40, 30)):
  pixels = np.zeros((*size[::-1], 3), np.uint8)
  return [pictures.from_pixels(name, pixels) for name in names]


@pytest.fixture
def page():
  return state.add(Page(), "support", _pictures("a.jpg", "b.jpg"))


def test_every_change_can_be_undone_and_drops_the_prediction(page):
  page = state.add(page, "query", _pictures("q.jpg"))
  page = page._replace(prediction="found")
  changes = [
    lambda p: state.add(p, "query", _pictures("r.jpg")),
    lambda p: state.remove(p, "support"),
    lambda p: state.place_keypoint(p, "nose", (3.0, 4.0)),
    lambda p: state.clear(p, "query"),
    lambda p: state.place_corner(
      state.place_corner(p, "query", (1, 1)), "query", (9, 7)
    ),
  ]
  for change in changes:
    changed = change(page)
    assert changed.prediction is None
    assert state.undo(changed) is page
    page = changed._replace(prediction="found")
  for _ in range(20):
    page = state.undo(page)
  assert page == Page()


def _noise(name, side=100):
  rng = np.random.default_rng(len(name))
  return pictures.from_pixels(name, rng.integers(0, 256, (side, side, 3), np.uint8))


def test_memory_of_a_page_and_its_history_is_bounded(monkeypatch):
  picture = _noise("a.png")
  monkeypatch.setattr(state, "MAX_BYTES", 3 * picture.weight + 100)
  monkeypatch.setattr(state, "MAX_UNDO_BYTES", 2 * picture.weight + 100)
  page = state.add(Page(), "support", [picture])
  for _ in range(50):  # marks share the picture: all can be taken back
    page = state.bounded(state.place_keypoint(page, "nose", (1.0, 1.0)))
  start = page
  for _ in range(50):
    start = state.undo(start)
  assert start.support.current.keypoints == {}
  for _ in range(20):
    page = state.bounded(state.add(page, "query", [_noise("b.png")]))
    page = state.bounded(state.remove(page, "query"))
  kept = {id(p.content): p for p in _everything(page)}
  assert len(kept) <= 3
  assert state.undo(page).query.pictures  # the last one can still be taken back
  with pytest.raises(ValueError, match="remove some first"):
    state.add(page, "query", (_noise("c.png") for _ in range(10**9)))
  with pytest.raises(ValueError, match="200 pictures"):
    state.add(Page(), "query", _pictures("a.png", size=(1, 1)) * 201)
  monkeypatch.setattr(state, "MAX_UNDO", 10)
  for x in range(30):
    page = state.bounded(state.place_keypoint(page, "nose", (x, 1.0)))
  for _ in range(30):
    page = state.undo(page)
  assert page.support.current.keypoints == {"nose": (19, 1.0)}


def _everything(page):
  while page is not None:
    yield from page.support.pictures + page.query.pictures
    page = page.before


def test_large_pictures_are_kept_small_and_drawn_alike(tmp_path):
  image = Image.effect_noise((3000, 2001), 60).convert("RGB")
  image.save(tmp_path / "a.jpg")
  picture = pictures.read(tmp_path / "a.jpg")
  assert picture.size == (3000, 2001)
  assert max(picture.preview.shape) == 1440
  (opened,) = pictures.Opened([picture])[:]
  np.testing.assert_array_equal(opened, Image.open(tmp_path / "a.jpg"))
  page = state.add(Page(), "support", [picture])
  drawn = drawing.draw_support(state.place_keypoint(page, "x", (1700.0, 800.0)))
  points = np.array([[1700.0, 800.0]])
  marks = Marks("", np.asarray(opened), points, np.ones(1, bool))
  expected = np.asarray(draw_marks(marks, drawing.SIDE), int)
  assert np.abs(np.asarray(drawn, int) - expected).max() <= 2


def test_errors_show_no_folder(tmp_path):
  (tmp_path / "notes.png").write_text("no picture")
  for name in ("notes.png", "absent.png"):
    with pytest.raises(ValueError, match=name) as told:
      pictures.read(tmp_path / name)
    assert str(tmp_path) not in str(told.value)


def test_names_go_on_where_the_picture_lacks_them(page):
  assert state.next_name(page) == "keypoint 1"
  page = state.place_keypoint(page, " nose ", (3.0, 4.0))
  page = state.place_keypoint(page, "", (5.0, 6.0))
  assert state.names(page) == ("nose", "keypoint 2")
  assert state.next_name(page) == "keypoint 3"
  page = state.show(page, "support", 1)
  assert state.next_name(page) == "nose"
  assert state.next_name(page, "nose") == "keypoint 2"  # the nose is skipped
  assert state.next_name(page, "keypoint 2") == "keypoint 3"
  page = state.place_keypoint(page, "nose", (1.0, 1.0))
  page = state.place_keypoint(page, "nose", (2.0, 2.0))
  assert page.support.current.keypoints == {"nose": (2.0, 2.0)}
  assert page.support.pictures[0].keypoints["nose"] == (3.0, 4.0)
  assert state.next_name(page) == "keypoint 2"


def test_two_corners_in_any_order_make_a_box(page):
  page = state.place_corner(page, "support", (20, 9))
  page = state.place_corner(page, "support", (4, 25))
  assert page.support.current.box == (4.5, 9.5, 16, 16)
  page = state.place_corner(page, "support", (20, 9))
  with pytest.raises(ValueError, match="two opposite corners"):
    state.place_corner(page, "support", (20, 20))
  # A corner on a picture of the other role begins anew.
  page = state.add(page, "query", _pictures("q.jpg"))
  page = state.place_corner(
    state.place_corner(page, "support", (1, 1)), "query", (2, 2)
  )
  assert page.query.current.box is None


def test_the_last_picture_removed_leaves_an_empty_page(page):
  for name in ("b.jpg", None):
    page = state.remove(page, "support")
    assert (page.support.current and page.support.current.name) == name
  assert drawing.draw_support(page) is None
  for change in (state.remove, state.clear):
    assert change(page, "support") is page
  assert state.place_keypoint(page, "nose", (1, 1)) is page
  assert state.place_corner(page, "query", (1, 1)) is page


@pytest.mark.parametrize("size", [(40, 30), (7, 500), (1999, 1201)])
def test_clicks_mean_what_is_drawn_there(size):
  (picture,) = _pictures("a.jpg", size=size)
  nothing = np.empty((0, 2)), np.empty(0, bool)
  drawn = draw_marks(Marks("", picture.preview, *nothing), drawing.SIDE).size
  np.testing.assert_allclose(drawing.to_image((0, 0), picture), (-0.5, -0.5))
  expected = np.array(size) - 0.5
  np.testing.assert_allclose(drawing.to_image(drawn, picture), expected)
  # Where a dot is drawn, a click finds its keypoint.
  (picture,) = _pictures("a.jpg", size=(100, 80))
  point = (33.0, 21.0)
  page = state.add(Page(), "support", [picture])
  pixels = np.asarray(drawing.draw_support(state.place_keypoint(page, "x", point)))
  rows, columns = np.nonzero(pixels.any(-1))
  click = (columns.mean() + 0.5, rows.mean() + 0.5)
  np.testing.assert_allclose(drawing.to_image(click, picture), point, atol=0.1)


def test_legends_show_names_as_text(page):
  page = state.place_keypoint(page, "<b>nose</b>", (3.0, 4.0))
  assert "&lt;b&gt;nose" in drawing.support_legend(page)
  found = of_points(np.zeros((1, 1, 2)), np.array([[0.7]]), state.names(page))
  page = state.add(page, "query", _pictures("q.jpg"))._replace(prediction=found)
  assert "&lt;b&gt;nose" in drawing.query_legend(page, 0.5)
  assert "70 %" in drawing.query_legend(page, 0.5)
  assert "opacity:1" in drawing.query_legend(page, 0.5)
  assert "opacity:0.4" in drawing.query_legend(page, 0.8)


@pytest.fixture(scope="module")
def detector(trained) -> KeypointDetector:
  return load(trained[1])


def test_numbers_are_those_of_the_command_and_of_the_api(
  trained, detector, shapes_folder, tmp_path
):
  files = sorted((shapes_folder / "images").iterdir())
  supports, queries = files[4:15:5], files[19:40:5]

  def opened(paths):
    return [pictures.read(path) for path in paths]

  page = state.add(Page(), "query", opened(queries))
  page = state.add(page, "support", opened(supports))
  page = state.place_corner(page, "query", (8.25, 3.5))
  page = state.place_corner(page, "query", (51, 44.125))
  page = state.place_keypoint(page, "north", (31.25, 12.0))
  page = state.place_keypoint(page, "middle", (30.125, 24.5))
  page = state.place_corner(page, "support", (10, 2))
  page = state.place_corner(page, "support", (50.5, 46))
  page = state.show(page, "support", 2)
  page = state.place_keypoint(page, "middle", (29.0, 22.0))
  with pytest.raises(ValueError, match="without keypoints"):
    state.predict(page, detector)
  page = state.remove(state.show(page, "support", 1), "support")
  page = state.predict(page, detector)

  marks, boxes = tmp_path / "marks.json", tmp_path / "boxes.json"
  marks.write_text(json.dumps(state.marks(page)))
  box = page.query.pictures[0].box
  boxes.write_text(json.dumps({queries[0].name: box}))
  command = [
    *("predict", "--workdir", trained[1], "--support", supports[0], supports[2]),
    *("--keypoints", marks, "--query", *queries, "--boxes", boxes),
    *("--min-confidence", 0.3, "--out", tmp_path / "command"),
  ]
  assert main.main(list(map(str, command))) == 0
  (tmp_path / "demo").mkdir()
  path = state.write_prediction(page, 0.3, tmp_path / "demo")
  content = path.read_text()
  assert content == (tmp_path / "command" / "predictions.json").read_text()
  assert any(entry["score"] for entry in json.loads(content)["annotations"])

  marked = read_supports([str(supports[0]), str(supports[2])], [str(marks)])
  support = detector.support(
    [x.path for x in marked],
    [x.marked.keypoints for x in marked],
    [x.marked.box for x in marked],
  )
  found = detector.predict(support, queries, [box, *[None] * (len(queries) - 1)])
  assert_same(page.prediction, found)


def test_pictures_of_equal_names_are_told_apart_in_files(tmp_path):
  page = state.add(Page(), "support", _pictures("a.jpg", "b.jpg", "a.jpg"))
  page = state.place_keypoint(state.show(page, "support", 2), "nose", (1, 2))
  called = [entry["file_name"] for entry in state.marks(page)["images"]]
  assert called == ["1/a.jpg", "b.jpg", "3/a.jpg"]
  page = state.add(page, "query", _pictures("q.jpg", "q.jpg"))
  found = of_points(np.ones((2, 1, 2)), np.ones((2, 1)), state.names(page))
  state.write_prediction(page._replace(prediction=found), 0.5, tmp_path)
  for name in ("predictions.json", "predictions.csv"):
    images = formats.read(tmp_path / name).images
    assert [image.name for image in images] == ["1/q.jpg", "2/q.jpg"]
    assert all(len(image.objects) == 1 for image in images)


def test_predicting_needs_marks_and_queries(page, detector):
  with pytest.raises(ValueError, match="Mark keypoints"):
    state.predict(page, detector)
  with pytest.raises(ValueError, match="Add a query"):
    state.predict(state.place_keypoint(page, "nose", (1.0, 1.0)), detector)


def test_examples_are_of_species_not_trained_on(trained, tmp_path, monkeypatch):
  cfg = trained[0].data
  support, queries = examples.make(cfg)(3)
  annotated = json.loads(open(f"{cfg.path}/annotations.json").read())
  species = {i["file_name"]: i["id"] % 5 for i in annotated["images"]}
  assert {species[p.name] for p in (support, *queries)} == {4}  # pond
  assert len({p.name for p in (support, *queries)}) == 4
  assert support.keypoints and not any(q.keypoints for q in queries)
  monkeypatch.chdir(tmp_path)
  absent = trained[0].data.__class__(name="synthetic_creatures")
  assert examples.make(absent) is None
  assert not any(tmp_path.iterdir())
