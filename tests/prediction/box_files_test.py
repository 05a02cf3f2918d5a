"""Boxes of images: by hand, or by a detector of objects."""

import json
import pathlib

import pytest

from fskd_jax.prediction import box_files
from fskd_jax.prediction.inputs import Query

QUERIES = [Query(pathlib.Path(f"/x/{n}"), n) for n in ("a/000012.jpg", "b/cat.png")]
FIRST, SECOND = (query.path for query in QUERIES)


def read(tmp_path, content, most=None):
  (tmp_path / "boxes.json").write_text(json.dumps(content))
  return box_files.read(tmp_path / "boxes.json", QUERIES, most)


def result(image, score=0.5, **more):
  return {"image_id": image, "bbox": [1, 2, 3, 100 * score], "score": score} | more


@pytest.mark.parametrize(
  "image, path",
  [(12, FIRST), ("000012", FIRST), ("a/000012.jpg", FIRST), ("cat", SECOND)],
)
def test_results_name_images_as_tools_do(image, path, tmp_path):
  assert read(tmp_path, [result(image)]) == {path: [(1, 2, 3, 50)]}


def test_a_file_name_is_the_better_name(tmp_path):
  assert [*read(tmp_path, [result(12, file_name="cat.png")])] == [SECOND]


def test_the_best_boxes_are_taken_and_other_images_left(tmp_path):
  content = [result(12, s) for s in (0.25, 0.75, 0.5)] + [result(99), result("dog")]
  found = read(tmp_path, content, most=2)
  assert found == {FIRST: [(1, 2, 3, 75), (1, 2, 3, 50)]}


def test_by_hand_there_may_be_several(tmp_path):
  content = {"cat.png": [[0, 0, 5, 5], [9, 9, 5, 5]], "000012.jpg": [1, 1, 2, 2]}
  found = read(tmp_path, content)
  assert found == {SECOND: [(0, 0, 5, 5), (9, 9, 5, 5)], FIRST: [(1, 1, 2, 2)]}
  with pytest.raises(ValueError, match="2 boxes for 'cat.png', but 1 object asked for"):
    read(tmp_path, content, most=1)


@pytest.mark.parametrize(
  "content, message",
  [
    ([result(99)], "none of its 1 boxes is of a query; it names the images 99"),
    ([result(12, file_name=3.5)], "entry 0 is"),
    ([{"image_id": 12, "bbox": [1, 2, 3]}], "entry 0 is"),
    ([{"image_id": 12, "bbox": [1, 2, 3, 4]}], "entry 0 is"),
    ({"cat.png": []}, "'cat.png' is \\[\\], expected JSON"),
    ([], "got \\[\\]"),
  ],
)
def test_other_content_is_refused(content, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    read(tmp_path, content)
