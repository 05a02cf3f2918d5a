"""Calibration as arithmetic; `predictor_test` calibrates a run."""

import numpy as np
import pytest
from scipy import special

from fskd_jax import calibration
from fskd_jax.calibration import Outcomes
from fskd_jax.calibration_picture import draw_curves

RNG = np.random.default_rng(0)


def _outcomes(count=40_000, mass_slope=0.7, peak_slope=-0.2, offset=0.4):
  mass, peak = RNG.uniform(0.05, 0.95, count), RNG.normal(6, 2, count)
  odds = mass_slope * special.logit(mass) + peak_slope * peak + offset
  correct = RNG.random(count) < special.expit(odds)
  return Outcomes(mass, peak, correct, 3.0 * RNG.chisquare(2, count))


def test_a_logistic_world_is_recovered():
  outcomes = _outcomes()
  fitted = calibration._fit(outcomes)
  assert fitted["mass_slope"] == pytest.approx(0.7, abs=0.05)
  assert fitted["peak_slope"] == pytest.approx(-0.2, abs=0.03)
  assert fitted["offset"] == pytest.approx(0.4, abs=0.2)
  assert fitted["covariance_scale"] == pytest.approx(3.0, rel=0.05)
  about = {"split": "validation", "shots": 1, "step": 1}
  confidence = calibration.Calibration(**fitted, **about).confidence(*outcomes[:2])
  assert calibration.measure(confidence, outcomes.correct).error < 0.02
  assert confidence.mean() == pytest.approx(outcomes.correct.mean(), abs=1e-3)


@pytest.mark.parametrize("is_right", [True, False])
def test_all_right_and_all_wrong_still_give_probabilities(is_right):
  outcomes = _outcomes(50)._replace(correct=np.full(50, is_right), peak=np.ones(50))
  fitted = calibration._fit(outcomes)
  about = {"split": "seen", "shots": 1, "step": 1}
  confidence = calibration.Calibration(**fitted, **about).confidence(
    np.array([0.0, 0.5, 1.0]), np.ones(3)
  )
  assert np.isfinite(confidence).all() and np.isfinite(list(fitted.values())).all()
  assert ((confidence > 0.5) == is_right).all()


def test_curves_equal_the_slow_loops():
  confidence = RNG.random(200) ** 2
  correct = RNG.random(200) < confidence
  found = calibration.measure(confidence, correct)
  rows, error = [], 0.0
  for low in np.arange(10) / 10:
    inside = (confidence >= low) & (confidence < low + 0.1)
    if inside.any():
      rows.append((confidence[inside].mean(), correct[inside].mean(), inside.sum()))
      error += abs(rows[-1][0] - rows[-1][1]) * inside.sum() / 200
  expected = np.array(rows).T
  np.testing.assert_allclose(found.confidence, expected[0])
  np.testing.assert_allclose(found.correct, expected[1])
  np.testing.assert_array_equal(found.count, expected[2])
  assert found.error == pytest.approx(error)
  by_confidence = sorted(zip(-confidence, correct))
  for coverage, risk in zip(found.coverage, found.risk):
    kept = [right for _, right in by_confidence[: round(coverage * 200)]]
    assert risk == pytest.approx(1 - np.mean(kept))


def test_a_picture_of_the_curves():
  good = calibration.measure(np.linspace(0, 1, 999), RNG.random(999) < 0.5)
  few = calibration.measure(np.array([0.5]), np.array([True]))
  one, both = draw_curves({"good": good}), draw_curves({"good": good, "few": few})
  assert one.shape == both.shape and (one != both).any()
