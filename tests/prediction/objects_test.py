"""Several objects in an image: each is found once, at its scale."""

import numpy as np
import pytest

from fskd_jax.prediction.objects import find_objects

SHAPE = np.array([(-0.35, 0.25), (0.1, -0.4), (0.4, 0.2)])
SIZE, MARGIN = (200, 120), 1.25
OBJECTS = np.array([[40.0, 40, 60], [150, 70, 50], [100, 90, 40]])


def _look(numbers, boxes):
  """Finds the object nearest to a box, the better, the more alike they are."""
  keypoints, scores = [], []
  for x, y, side, _ in boxes:
    offsets = OBJECTS[:, :2] - (x, y) - (side - 1) / 2
    away = np.hypot(*offsets.T) / side + np.abs(np.log2(side / OBJECTS[:, 2])) / 4
    nearest, miss = int(away.argmin()), min(away.min(), 1.0)
    noise = miss * np.random.default_rng(0).normal(0, 0.02 * side, (3, 2))
    keypoints.append(OBJECTS[nearest, :2] + OBJECTS[nearest, 2] * SHAPE + noise)
    scores.append(np.full(3, 1 - 0.5 * miss))
  return np.array(keypoints), np.array(scores)


@pytest.mark.parametrize("most, count", [(1, 1), (2, 2), (3, 3), (5, 3), (None, 3)])
def test_each_object_is_found_once(most, count):
  numbers, boxes = find_objects(_look, [SIZE, SIZE], SHAPE[None], MARGIN, most)
  np.testing.assert_array_equal(numbers, np.repeat([0, 1], count))
  centers = boxes[:count, :2] + (boxes[:count, 2:] - 1) / 2
  found = np.linalg.norm(centers[:, None] - OBJECTS[None, :, :2], axis=-1)
  assert len({*found.argmin(1).tolist()}) == count
  assert (found.min(1) < 5).all()
  np.testing.assert_allclose(boxes[:count, 2], OBJECTS[found.argmin(1), 2], rtol=0.15)


def test_all_are_those_that_are_nearly_as_sure_as_the_best():
  def look(numbers, boxes):
    keypoints, scores = _look(numbers, boxes)
    is_first = np.linalg.norm(keypoints.mean(1) - OBJECTS[0, :2], axis=-1) < 20
    return keypoints, scores * np.where(is_first, 1.0, 0.5)[:, None]

  numbers, _ = find_objects(look, [SIZE], SHAPE[None], MARGIN, None)
  assert len(numbers) == 1
  numbers, _ = find_objects(look, [SIZE], SHAPE[None], MARGIN, 3)
  assert len(numbers) == 3


def test_one_keypoint_cannot_tell_objects_apart():
  places = np.array([[(0.1, 0.1), (np.nan, np.nan), (np.nan, np.nan)]])
  with pytest.raises(ValueError, match="two keypoints"):
    find_objects(_look, [SIZE], places, MARGIN, 2)
