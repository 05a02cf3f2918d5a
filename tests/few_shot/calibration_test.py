"""Calibration as arithmetic; `predictor_test` calibrates a run."""

import json

import numpy as np
import pytest
from helpers import shapes
from scipy import special

from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import calibration
from fskd_jax.few_shot.calibration import Outcomes
from fskd_jax.few_shot.sampler import evaluation_sampler
from fskd_jax.heatmaps import readout
from fskd_jax.metrics import reliability
from fskd_jax.pictures.calibration import draw_curves

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
  assert reliability.measure(confidence, outcomes.correct).error < 0.02
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
  found = reliability.measure(confidence, correct)
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
  good = reliability.measure(np.linspace(0, 1, 999), RNG.random(999) < 0.5)
  few = reliability.measure(np.array([0.5]), np.array([True]))
  one, both = draw_curves({"good": good}), draw_curves({"good": good, "few": few})
  assert one.shape == both.shape and (one != both).any()


LOST = 1


@pytest.fixture
def calibrate(shapes_folder, tmp_path, monkeypatch):
  """(changes of the configuration) -> calibration, its file, species it was fitted on.

  With a network that puts keypoints where they are annotated, seen or not; but those
  of type `LOST` nowhere near.
  """

  def run(*settings, **data):
    cfg = shapes.config(shapes_folder)
    cfg.eval.settings = settings
    for name, value in data.items():
      setattr(cfg.data, name, value)
    feed, species = Feed.open(cfg.data), []

    def read(batch):
      drawn = np.asarray(batch.episode_index) >= 0
      species.extend(feed.species(batch.query.instance[drawn]).ravel())
      points = batch.query.keypoints
      packed = np.zeros((*points.shape[:-1], 8))
      lost = (batch.keypoint_ids == LOST)[:, None, :, None]
      packed[..., :2] = np.where(lost, points + 100, points)
      found = readout.unpack(packed)
      found.covariance[...], found.mass[...] = np.eye(2), RNG.random(points.shape[:-1])
      return packed

    monkeypatch.setattr(calibration, "_reader", lambda *_: read)
    found = calibration.calibrate(cfg, feed, {}, 7, tmp_path)
    content = json.loads((tmp_path / calibration.FILE).read_text())
    return found, content, species, (cfg, feed)

  return run


@pytest.mark.parametrize(
  "data, split, fitted_on",
  [
    ({}, "validation", {"crate"}),
    ({"validation_species": ()}, "seen", {"plum", "leaf", "rock", "crate"}),
    ({"validation_species": (), "heldout_fraction": 0.0}, "unseen", {"pond"}),
  ],
)
def test_the_species_of_the_test_are_the_last_to_fit_on(
  calibrate, data, split, fitted_on
):
  found, _, species, _ = calibrate(**data)
  assert found.split == split and set(species) == fitted_on


def test_right_is_what_is_near_and_visible(calibrate):
  _, content, _, (cfg, feed) = calibrate("seen/base")
  sampler = evaluation_sampler(feed, "seen/base", cfg.eval)
  right = hidden = lost = asked = 0
  for index in range(cfg.eval.episodes):
    plan = sampler.plan(index)
    for n in np.flatnonzero(plan.support.visible.any(0)):
      for visible in plan.query.visible[:, n]:
        is_lost = plan.keypoint_ids[n] == LOST
        right += visible and not is_lost
        hidden += not visible and not is_lost
        lost += visible and is_lost
        asked += 1
  curves = content["settings"]["seen/base"]
  assert sum(curves["count"]) == asked and hidden > 0 and lost > 0
  assert np.dot(curves["correct"], curves["count"]) == pytest.approx(right)
