"""Gaussian pooling and the masked mean over shots."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.parity.cases import normalized_to_pixels
from fskd_jax.models import aggregator
from fskd_jax.models.aggregator import masked_mean

SIGMA = 14 / 384


OPTIONS = ("image_size", "sigma", "truncate_center")
pooling_weights = jax.jit(
  aggregator.pooling_weights, static_argnums=1, static_argnames=OPTIONS
)
pool_features = jax.jit(aggregator.pool_features, static_argnames=OPTIONS)


def _weights(x, y, **options):
  point = np.array([[x, y]], np.float32)
  options = {"image_size": 384, "sigma": SIGMA} | options
  return np.asarray(pooling_weights(point, 12, **options))[0]


def test_weights_of_known_points():
  """The example of docs/algorithm.md#pooling, in (row, column)."""
  expected = {
    (5, 2): 0.064011, (5, 3): 0.133453, (6, 2): 0.256418,
    (6, 3): 0.534591, (7, 3): 0.011528,
  }  # fmt: skip
  weights = _weights(100, 200)
  found = {tuple(map(int, at)): weights[tuple(at)] for at in np.argwhere(weights)}
  assert found == pytest.approx(expected, abs=1e-6)
  assert _weights(0, 0)[0, 0] == 1
  assert _weights(383, 383)[11, 11] == 1
  assert _weights(383, 0)[0, 11] == 1


def test_weights_move_with_the_keypoint():
  np.testing.assert_allclose(
    _weights(107.3 + 32, 201.8)[:, 1:], _weights(107.3, 201.8)[:, :-1], atol=1e-6
  )


def test_only_truncation_ignores_the_fraction():
  assert np.abs(_weights(100.9, 200) - _weights(100, 200)).max() > 0.01
  truncated = _weights(100.9, 200, truncate_center=True)
  np.testing.assert_array_equal(truncated, _weights(100, 200))


def test_points_outside_are_clamped():
  np.testing.assert_array_equal(_weights(-500, 900), _weights(0, 383))


@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 1.0])
def test_weights_always_sum_to_one(sigma):
  weights = _weights(111.1, 222.2, sigma=sigma)
  assert weights.sum() == pytest.approx(1, abs=1e-6)
  assert np.unravel_index(weights.argmax(), weights.shape) == (6, 3)


def test_pooling_reads_the_original_codes_numbers(golden):
  keypoints = normalized_to_pixels(golden["pool_keypoints"], 384)
  visible = golden["pool_mask"].astype(bool)
  features = golden["pool_features_nchw"].transpose(0, 2, 3, 1)
  pooled = pool_features(
    features[None], keypoints[None], image_size=384, sigma=SIGMA, truncate_center=True
  )
  expected = golden["pool_representations_bcn"].transpose(0, 2, 1)
  np.testing.assert_allclose(
    np.asarray(pooled[0])[visible], expected[visible], atol=1e-5
  )

  prototypes = np.asarray(jax.jit(masked_mean)(pooled, visible[None])[0])
  seen = visible.any(0)
  assert seen.tolist() == [True] * 5 + [False]
  expected = golden["pool_prototypes_cn"].T
  np.testing.assert_allclose(prototypes[seen], expected[seen], atol=1e-5)


def test_pooling_is_the_weighted_sum():
  features = np.random.default_rng(0).normal(size=(1, 2, 4, 4, 3)).astype(np.float32)
  keypoints = np.array([[[[3.0, 20.0]], [[30.0, 9.0]]]], np.float32)
  pooled = pool_features(features, keypoints, image_size=32, sigma=0.2)
  for t in range(2):
    weights = pooling_weights(keypoints[0, t], 4, image_size=32, sigma=0.2)
    weights = np.asarray(weights)[0]
    expected = sum(
      weights[i, j] * features[0, t, i, j] for i in range(4) for j in range(4)
    )
    np.testing.assert_allclose(pooled[0, t, 0], expected, rtol=1e-5)


CELLS, STRIDE = 6, 8
HARDEST = np.float32([[19.5, 27.5], [23.5, 27.5], [27.5, 19.5 + 4]])
"""At a cell's centre, between two of a row, between two of a column."""


def _pooled(keypoints, sigma, features=None, **options):
  """A weighted sum of what is pooled, for a sigma in cells."""
  rng = np.random.default_rng(0)
  drawn = rng.normal(size=(1, 1, CELLS, CELLS, 3)).astype(np.float32)
  options |= {"image_size": CELLS * STRIDE, "sigma": sigma / CELLS}
  features = drawn if features is None else features
  pooled = pool_features(features, keypoints[None, None], **options)
  return (pooled * rng.normal(size=pooled.shape)).sum()


def _slopes(keypoints, sigma, step=0.05):
  """Central differences in every coordinate."""
  slopes = np.zeros_like(keypoints)
  for at in np.ndindex(keypoints.shape):
    move = np.zeros_like(keypoints)
    move[at] = step
    beside = [_pooled(keypoints + sign * move, sigma) for sign in (1, -1)]
    slopes[at] = (beside[0] - beside[1]) / (2 * step)
  return slopes


def test_above_the_smallest_sigma_every_keypoint_has_a_gradient():
  sigma = aggregator.SMALLEST_SIGMA + 0.01
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    gradient = np.asarray(jax.grad(_pooled)(HARDEST, sigma))
  np.testing.assert_allclose(gradient, _slopes(HARDEST, sigma), rtol=2e-2)
  assert (np.abs(gradient) > 1e-4).all()


@pytest.mark.parametrize(
  "sigma, zeros",
  [
    (aggregator.SMALLEST_SIGMA - 0.01, [[0, 0], [0, 1], [1, 0]]),  # along the gap
    (0.3, [[1, 1], [0, 1], [1, 0]]),
    (0.2, [[1, 1], [0, 1], [1, 0]]),
  ],
)
def test_below_it_gradients_are_exactly_zero_and_that_is_said(sigma, zeros):
  with pytest.warns(UserWarning, match=rf"sigma is {sigma:.2g} cells, below 0\.37"):
    gradient = np.asarray(jax.grad(_pooled)(HARDEST, sigma))
  np.testing.assert_array_equal(gradient == 0, np.bool(zeros))
  np.testing.assert_array_equal(_slopes(HARDEST, sigma) == 0, np.bool(zeros))


def test_truncated_centres_have_no_gradient_and_that_is_said():
  with pytest.warns(UserWarning, match="truncate_center drops fractions"):
    gradient = jax.grad(_pooled)(HARDEST, 1.0, truncate_center=True)
  assert not np.asarray(gradient).any()


def test_nothing_is_said_where_the_keypoints_are_not_differentiated():
  features = np.ones((1, 1, CELLS, CELLS, 3), np.float32)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    _pooled(HARDEST, 0.2, truncate_center=True)
    gradient = jax.grad(_pooled, argnums=2)(HARDEST, 0.2, features)
  assert np.asarray(gradient).any()


def test_masked_mean_counts_only_what_is_visible():
  pooled = jnp.array([[[[1.0], [10.0], [5.0]], [[3.0], [20.0], [7.0]]]])
  visible = jnp.array([[[True, False, False], [True, True, False]]])
  mean, gradient = jax.value_and_grad(lambda x: masked_mean(x, visible).sum())(pooled)
  np.testing.assert_allclose(masked_mean(pooled, visible)[0, :, 0], [2, 20, 0])
  assert mean == 22
  np.testing.assert_allclose(gradient[0, :, :, 0], [[0.5, 0, 0], [0.5, 1, 0]])


def test_nan_does_not_pass_the_mask():
  pooled = jnp.full((1, 1, 2, 3), jnp.nan).at[0, 0, 0].set(1.0)
  visible = jnp.array([[[True, False]]])
  assert masked_mean(pooled, visible)[0].tolist() == [[1] * 3, [0] * 3]
