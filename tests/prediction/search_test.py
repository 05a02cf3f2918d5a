"""Squares from keypoints, and the search with a detector that knows one scale."""

import numpy as np
import pytest

from fskd_jax.prediction import search

SIZE = 160, 120
MARGIN = 1.25
SHAPE = np.array([[-0.4, -0.3], [0.4, -0.3], [0.0, 0.4]])
"""Three keypoints from the centre of their box, in units of its longer side."""


def test_windows_cover_the_image_at_two_scales():
  for size in (SIZE, SIZE[::-1], (100, 100), (300, 20)):
    whole, *smaller = search.windows(size)
    np.testing.assert_allclose(whole, [(size[0] - 1) / 2, (size[1] - 1) / 2, max(size)])
    boxes = search.to_boxes(np.array(smaller))
    assert (boxes[:, 2:] == max(size) / 2).all()
    for x in np.linspace(0, size[0] - 1, 50):
      for y in np.linspace(0, size[1] - 1, 50):
        inside = (boxes[:, :2] - 0.5 <= (x, y)) & (
          (x, y) <= boxes[:, :2] + boxes[:, 2:]
        )
        assert inside.all(1).any()
  assert len(search.windows((1, 1))) > 1


def test_keypoints_like_those_of_the_support_tell_its_box():
  box = np.array([[20.0, 30, 40, 20]])
  points = (box[:, :2] + (box[:, 2:] - 1) / 2 + 40 * SHAPE)[None]
  places = search.relative_places(points, box)
  np.testing.assert_allclose(places[0], SHAPE)
  moved = 70 + 50 * SHAPE
  found = search.square_from_keypoints(moved, np.full(3, 0.8), places, SIZE)
  np.testing.assert_allclose(found, [70, 70, 50])
  # An unsure outlier hardly counts; a missing keypoint not at all.
  moved = np.concatenate([moved, [[150, 5]], [[np.nan, np.nan]]])
  places = np.concatenate([places, [[[0.1, 0.1], [0.2, 0.2]]]], axis=1)
  sure = np.array([0.9, 0.9, 0.9, 0.01, 0.9])
  found = search.square_from_keypoints(moved, sure, places, SIZE)
  np.testing.assert_allclose(found, [70, 70, 50], atol=0.2)


def test_a_known_side_keeps_the_mean_keypoint_in_its_place():
  half, sure = 70 + 25 * SHAPE, np.full(3, 0.8)
  assert search.side_from_keypoints(half, sure, SHAPE[None]) == pytest.approx(25)
  x, y, side = search.square_from_keypoints(half, sure, SHAPE[None], SIZE, (40, 60))
  assert side == 40
  np.testing.assert_allclose((x, y) + 40 * SHAPE.mean(0), half.mean(0))


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_keypoints_there_is_no_scale(count):
  places = np.full((2, 3, 2), np.nan)
  places[:, :count] = 0.1
  sure = np.ones(3)
  found = search.square_from_keypoints(70 + 50 * SHAPE, sure, places, SIZE)
  assert found is None
  boxes = search.find_boxes(None, [SIZE], places, MARGIN)
  np.testing.assert_array_equal(boxes, [(0, 0, *SIZE)])


def _look(objects):
  """Finds an object the better, the nearer a box is to its own."""

  def look(numbers, boxes):
    keypoints, confidence = [], []
    for i, (x, y, side, _) in zip(numbers, boxes):
      center, size = objects[i][:2], objects[i][2]
      offset = center - (x, y) - (side - 1) / 2
      miss = min(np.abs(np.log2(side / size)) / 2 + np.hypot(*offset) / side, 1.0)
      noise = miss * np.random.default_rng(0).normal(0, 0.1 * side, (3, 2))
      keypoints.append(center + size * SHAPE + noise)
      confidence.append(np.full(3, 1 - miss))
    return np.array(keypoints), np.array(confidence)

  return look


def test_small_and_large_objects_are_found_at_their_scale():
  objects = np.array([[40.0, 30, 45], [110, 80, 60], [80, 60, 150]])
  boxes = search.find_boxes(_look(objects), [SIZE] * 3, SHAPE[None], MARGIN)
  np.testing.assert_allclose(boxes[:, 2], objects[:, 2], rtol=0.15)
  centers = boxes[:, :2] + (boxes[:, 2:] - 1) / 2
  np.testing.assert_allclose(centers, objects[:, :2], atol=5)
