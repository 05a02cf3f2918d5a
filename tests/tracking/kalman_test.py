"""The filter and the smoother, beside normal distributions conditioned at once."""

import numpy as np
import pytest

from fskd_jax.tracking import kalman

WANDER, SPEED = 0.7, 1.5


def _measurements(rng, count=9, points=2):
  """Returns irregular times, points (one is never seen at times), and spreads."""
  times = np.cumsum(rng.uniform(0.3, 2.5, count))
  measured = rng.normal(0, 3, (count, points, 2)) + times[:, None, None]
  root = rng.normal(0, 1, (count, points, 2, 2))
  spread = root @ root.mT + 0.2 * np.eye(2)
  measured[3, 0] = measured[4, 0] = np.nan
  return times, measured, spread


def _forward(times, measured, spread):
  belief = kalman.start(measured[0], spread[0], SPEED)
  beliefs = [belief]
  for interval, points, around in zip(np.diff(times), measured[1:], spread[1:]):
    belief = kalman.updated(kalman.predicted(belief, interval, WANDER), points, around)
    beliefs.append(belief)
  return beliefs


def _conditioned(times, measured, spread, point, upto):
  """Returns mean and covariance of all states of a point, given measurements.

  The joint normal distribution of all states, built by slow loops and conditioned on
  the first `upto` measurements in one step.
  """
  count = len(times)
  mean = np.zeros(4 * count)
  joint = np.zeros((4 * count, 4 * count))
  mean[:4] = [*measured[0, point], 0, 0]
  joint[:2, :2], joint[2, 2], joint[3, 3] = spread[0, point], SPEED**2, SPEED**2
  for i in range(1, count):
    t = times[i] - times[i - 1]
    move = np.eye(4)
    move[0, 2] = move[1, 3] = t
    noise = np.zeros((4, 4))
    for axis in (0, 1):
      noise[axis, axis], noise[axis + 2, axis + 2] = t**3 / 3, t
      noise[axis, axis + 2] = noise[axis + 2, axis] = t**2 / 2
    now, old = slice(4 * i, 4 * i + 4), slice(4 * i - 4, 4 * i)
    mean[now] = move @ mean[old]
    joint[now, : 4 * i] = move @ joint[old, : 4 * i]
    joint[: 4 * i, now] = joint[now, : 4 * i].T
    joint[now, now] = move @ joint[old, old] @ move.T + WANDER**2 * noise
  seen = [i for i in range(1, upto) if np.isfinite(measured[i, point]).all()]
  rows = [4 * i + axis for i in seen for axis in (0, 1)]
  total = joint[np.ix_(rows, rows)]
  for place, i in enumerate(seen):
    total[2 * place : 2 * place + 2, 2 * place : 2 * place + 2] += spread[i, point]
  gain = joint[:, rows] @ np.linalg.inv(total)
  values = np.concatenate([measured[i, point] for i in seen] or [np.zeros(0)])
  return mean + gain @ (values - mean[rows]), joint - gain @ joint[rows]


@pytest.mark.parametrize("seed", range(3))
def test_the_filter_knows_what_was_measured_until_then(seed):
  times, measured, spread = _measurements(np.random.default_rng(seed))
  beliefs = _forward(times, measured, spread)
  for point in range(2):
    for i, belief in enumerate(beliefs):
      mean, joint = _conditioned(times, measured, spread, point, i + 1)
      now = slice(4 * i, 4 * i + 4)
      np.testing.assert_allclose(belief.mean[point], mean[now], atol=1e-9)
      np.testing.assert_allclose(belief.covariance[point], joint[now, now], atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_smoother_knows_everything(seed):
  times, measured, spread = _measurements(np.random.default_rng(seed))
  intervals = [*np.diff(times)]
  beliefs = kalman.smoothed(_forward(times, measured, spread), intervals, WANDER)
  for point in range(2):
    mean, joint = _conditioned(times, measured, spread, point, len(times))
    for i, belief in enumerate(beliefs):
      now = slice(4 * i, 4 * i + 4)
      np.testing.assert_allclose(belief.mean[point], mean[now], atol=1e-8)
      np.testing.assert_allclose(belief.covariance[point], joint[now, now], atol=1e-8)


def test_time_can_be_cut_anywhere():
  belief = kalman.start(np.zeros((1, 2)), np.eye(2)[None], SPEED)
  whole = kalman.predicted(belief, 1.7, WANDER)
  parts = kalman.predicted(kalman.predicted(belief, 0.4, WANDER), 1.3, WANDER)
  np.testing.assert_allclose(whole.covariance, parts.covariance, rtol=1e-12)


def test_surprise_is_that_of_the_normal_distribution():
  from scipy.stats import multivariate_normal

  rng = np.random.default_rng(0)
  belief = kalman.start(rng.normal(size=(3, 2)), np.stack([np.eye(2)] * 3), SPEED)
  points, spread = rng.normal(size=(3, 2)), np.diag([0.5, 2.0])[None].repeat(3, 0)
  squares, likelihood = kalman.surprise(belief, points, spread)
  for i in range(3):
    known = multivariate_normal(belief.points[i], np.eye(2) + spread[i])
    np.testing.assert_allclose(likelihood[i], known.logpdf(points[i]))
  np.testing.assert_allclose(
    squares, ((points - belief.points) ** 2 / [1.5, 3]).sum(-1)
  )
  assert np.isnan(kalman.surprise(belief, np.full((3, 2), np.nan), spread)[0]).all()
