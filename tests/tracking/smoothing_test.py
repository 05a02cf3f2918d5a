"""Smoothing comes nearer to the truth, and its uncertainty is right."""

import warnings

import numpy as np

from fskd_jax.tracking import report
from fskd_jax.tracking.smoothing import smooth

SIDE = 50.0


def _clip(rng, count=400, noise=3.0):
  """Returns times, a smooth truth, noisy measurements and their spreads."""
  times = np.cumsum(rng.uniform(0.5, 1.5, count))
  phase = times[:, None] / 20 + [0.0, 1.0, 2.0]
  truth = 100 + 40 * np.stack([np.cos(phase), np.sin(phase)], axis=-1)
  measured = truth + rng.normal(0, noise, truth.shape)
  spread = np.broadcast_to(noise**2 * np.eye(2), (*truth.shape, 2))
  return times, truth, measured, spread


def test_it_is_nearer_to_the_truth_and_knows_how_near():
  times, truth, measured, spread = _clip(np.random.default_rng(0))
  found = smooth(times, measured, spread, SIDE)
  before, after = (np.linalg.norm(x - truth, axis=-1) for x in (measured, found[0]))
  assert after.mean() < 0.6 * before.mean()
  offset = (found.keypoints - truth)[..., None]
  squares = (offset.mT @ np.linalg.solve(found.covariance, offset)).ravel()
  assert 1.3 < squares.mean() < 3.0  # 2 for a covariance that is right


def test_gaps_are_bridged_with_less_certainty():
  times, truth, measured, spread = _clip(np.random.default_rng(1))
  spread = spread.copy()
  measured[200:210, 0] = spread[200:210, 0] = np.nan
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    found = smooth(times, measured, spread, SIDE)
  away = np.linalg.norm(found.keypoints[200:210, 0] - truth[200:210, 0], axis=-1)
  assert away.max() < 8
  area = np.linalg.det(found.covariance[:, 0])
  assert area[204] > 3 * area[150]


def test_types_that_are_never_found_stay_missing():
  times, _, measured, spread = _clip(np.random.default_rng(2), count=20)
  measured[:, 1] = np.nan
  found = smooth(times, measured, spread, SIDE)
  assert (
    np.isnan(found.keypoints[:, 1]).all() and np.isnan(found.covariance[:, 1]).all()
  )
  assert np.isfinite(found.keypoints[:, [0, 2]]).all()


def test_a_fast_object_is_not_slowed_down():
  rng = np.random.default_rng(3)
  times = np.arange(100.0)
  jagged = np.cumsum(rng.normal(0, 6, (100, 1, 2)), axis=0)
  spread = np.full((100, 1, 1, 1), 0.01) * np.eye(2)
  found = smooth(times, jagged, spread, SIDE)
  assert found.wander == 0.05
  assert np.linalg.norm(found.keypoints - jagged, axis=-1).max() < 2


def test_jumps_are_found_and_motion_is_none():
  times, _, measured, _ = _clip(np.random.default_rng(4), noise=0.5)
  sides = np.full(len(times), SIDE)
  assert report.jumps(times, measured, sides) == []
  measured[150, 2] += 30
  measured[250:, 1] -= 40
  found = report.jumps(times, measured, sides)
  assert {(150, 2), (250, 1)} <= {(place, number) for place, number, _ in found}
  assert {place for place, *_ in found} <= {150, 151, 250, 251}


def test_spans_are_runs_of_flags():
  flags = [True, False, True, True, False, False, True]
  assert report.spans(flags) == [(0, 0), (2, 3), (6, 6)]
  assert report.spans([]) == report.spans([False]) == []
