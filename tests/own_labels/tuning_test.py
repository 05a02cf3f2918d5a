"""Ways between detectors."""

import numpy as np

from fskd_jax.own_labels import tuning


def test_between_two_detectors_lies_a_straight_way():
  start, end = {"a": np.array([0.0, 2.0])}, {"a": np.array([1.0, 0.0])}
  for share, expected in ((0, [0, 2]), (0.5, [0.5, 1]), (1, [1, 0])):
    np.testing.assert_allclose(tuning.between(start, end, share)["a"], expected)
