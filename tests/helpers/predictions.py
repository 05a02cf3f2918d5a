"""Predictions in tests."""

import dataclasses

import numpy as np

from fskd_jax.prediction.results import Prediction


def of_points(points, confidence, names, covariance=1.0):
  """Returns a prediction of one object per image, with a unit box."""
  count = len(points)
  spread = np.broadcast_to(covariance * np.eye(2), (*confidence.shape, 2, 2))
  boxes = np.tile([0.0, 0.0, 1.0, 1.0], (count, 1))
  return Prediction(np.arange(count), boxes, points, confidence, spread, names)


def assert_same(one, other):
  """Checks that two predictions are equal, bit for bit."""
  assert one.names == other.names
  for field in dataclasses.fields(Prediction):
    if field.name != "names":
      arrays = getattr(one, field.name), getattr(other, field.name)
      np.testing.assert_array_equal(*arrays, err_msg=field.name)
