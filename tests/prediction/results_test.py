"""Predictions as rows of objects."""

import numpy as np
import pytest
from helpers.predictions import assert_same

from fskd_jax.prediction.results import Prediction


@pytest.fixture
def prediction():
  """Four objects with three keypoints: two in image 0, none in 1, one in 2 and 3."""
  rng = np.random.default_rng(0)
  points = rng.uniform(0, 9, (4, 3, 2))
  points[:, 1] = np.nan
  return Prediction(
    np.array([0, 0, 2, 3]),
    rng.uniform(0, 9, (4, 4)),
    points,
    rng.random((4, 3)),
    rng.random((4, 3, 2, 2)),
    ("a", "b", "c"),
  )


def test_rows_go_together(prediction):
  assert len(prediction) == 4
  for rows in (slice(1, 3), [2, 0], np.array([True, False, False, True])):
    some = prediction[rows]
    for name in ("image", "box", "keypoints", "confidence", "covariance"):
      expected = getattr(prediction, name)[rows]
      np.testing.assert_array_equal(getattr(some, name), expected)
    assert some.names == prediction.names


def test_one_row_is_a_prediction_of_one_object(prediction):
  singles = [*prediction]
  assert [len(x) for x in singles] == [1] * 4
  assert_same(singles[-1], prediction[-1])
  assert_same(prediction[np.int64(2)], prediction[2:3])
  with pytest.raises(IndexError):
    prediction[4]


def test_objects_of_an_image(prediction):
  assert_same(prediction.of_image(0), prediction[:2])
  assert len(prediction.of_image(1)) == 0
  assert_same(prediction.of_image(3), prediction[3])
  assert prediction.is_shown().tolist() == [[True, False, True]] * 4
