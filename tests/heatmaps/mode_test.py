"""The mode of heat-maps: its mean, mass and covariance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.config import LossConfig
from fskd_jax.heatmaps import decoding


@functools.partial(jax.jit, static_argnums=(1, 2))
def decode(maps, stride, temperature):
  return decoding.decode(maps, stride, "mode", temperature)


def _bump(center, size=(24, 24), sigma=1.2):
  """Log-density of a Gaussian around a fractional cell (x, y)."""
  rows, columns = np.indices(size)
  squares = (columns - center[0]) ** 2 + (rows - center[1]) ** 2
  return jnp.float32(-squares / (2 * sigma**2))


@pytest.mark.parametrize("center", [(10.0, 7.0), (10.3, 6.6), (12.5, 15.1)])
def test_the_centre_of_a_bump_is_found_between_the_cells(center):
  found = decode(_bump(center, sigma=0.8), stride=4, temperature=1.0)
  expected = np.array(center) * 4 + 1.5
  np.testing.assert_allclose(found.keypoints, expected, atol=0.25)  # of 4-pixel cells
  assert found.mass > 0.9
  # The covariance is the bump's, less what the window cuts off, plus that of a cell.
  sd = np.sqrt(np.diagonal(found.covariance)) / 4
  assert (0.7 < sd).all() and (sd < 0.9).all()


def test_it_equals_the_slow_loop():
  rng = np.random.default_rng(0)
  heatmap = rng.normal(size=(12, 18)).astype(np.float32)
  found = decode(jnp.asarray(heatmap), stride=8, temperature=0.5)
  weights = np.exp(heatmap / 0.5) / np.exp(heatmap / 0.5).sum()
  top, left = np.unravel_index(heatmap.argmax(), heatmap.shape)
  mass, mean, moment = 0.0, np.zeros(2), np.zeros((2, 2))
  for row in range(12):
    for column in range(18):
      if np.hypot(row - top, column - left) <= 1.8:  # a tenth of the longer side
        mass += weights[row, column]
        mean += weights[row, column] * np.array([column, row])
        moment += weights[row, column] * np.outer([column, row], [column, row])
  mean, moment = mean / mass, moment / mass
  covariance = (moment - np.outer(mean, mean) + np.eye(2) / 12) * 64
  np.testing.assert_allclose(found.mass, mass, rtol=1e-5)
  np.testing.assert_allclose(found.keypoints, mean * 8 + 3.5, rtol=1e-5)
  np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3, atol=1e-3)
  assert found.peak == heatmap.max()


def test_a_second_mode_takes_confidence_but_does_not_move_the_first():
  one = _bump((5, 5))
  two = jnp.maximum(one, _bump((18, 18)) - 0.5)
  found, both = (decode(x, stride=1, temperature=1.0) for x in (one, two))
  np.testing.assert_allclose(both.keypoints, found.keypoints, atol=1e-3)
  assert both.mass < 0.7 * found.mass


def test_leading_axes():
  maps = jnp.stack([_bump((3, 4)), _bump((7.2, 5))]).reshape(1, 2, 1, 24, 24)
  found = decode(maps, stride=2, temperature=1.0)
  single = decode(maps[0, 1, 0], stride=2, temperature=1.0)
  np.testing.assert_allclose(found.keypoints[0, 1, 0], single.keypoints, rtol=1e-6)


def test_the_temperature_fits_the_loss():
  assert decoding.temperature(LossConfig(heatmap="cross_entropy")) == 1.0
  assert decoding.temperature(LossConfig(heatmap="mse")) < 0.2  # maps of height 1
