"""The rows of a list of images: boxes that were given, and objects that were found."""

import numpy as np
import pytest

from fskd_jax.prediction.rows import placed

SIZE = (40, 30)


def place(boxes, find=None):
  labels = [f"image {i}" for i in range(len(boxes))]
  return placed(boxes, [SIZE] * len(boxes), labels, find)


def test_given_and_found_boxes_are_in_the_order_of_the_images():
  asked = []

  def find(missing):
    asked.append(missing)
    return np.array([0, 0, 1]), np.array([[9.0, 9, 5, 5], [8, 8, 5, 5], [7, 7, 5, 5]])

  one = np.array([1.0, 2, 3, 4])
  rows = place([None, one, [(5, 6, 7, 8), (6, 6, 7, 8)], None], find)
  assert asked == [[0, 3]]
  np.testing.assert_array_equal(rows.numbers, [0, 0, 1, 2, 2, 3])
  np.testing.assert_array_equal(rows.boxes[:, 0], [9, 8, 1, 5, 6, 7])
  np.testing.assert_array_equal(rows.given, [0, 0, 1, 1, 1, 0])
  np.testing.assert_array_equal(rows.shapes()[2:5], [(3, 4), (7, 8), (7, 8)])
  assert np.isnan(rows.shapes()[[0, 1, 5]]).all()


@pytest.mark.parametrize("boxes", [5, [], (1, 2, 3), [(1, 2, 3, 4), (100, 2, 3, 4)]])
def test_a_wrong_box_is_named(boxes):
  with pytest.raises(ValueError, match="image 0: box"):
    place([boxes])
