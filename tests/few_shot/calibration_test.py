"""Calibration as arithmetic; `predictor_test` calibrates a run."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import shapes
from scipy import special

from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import calibration, fitting, scoring
from fskd_jax.few_shot.outcomes import Outcomes
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.metrics import reliability
from fskd_jax.pictures.calibration import draw_curves

RNG = np.random.default_rng(0)
CURVE = np.linspace(0, 1, 50), RNG.random(50) < 0.5
ABOUT = {"split": "validation", "shots": 1, "step": 1}


def _outcomes(count=40_000, mass_slope=0.7, peak_slope=0.2, offset=-1.4):
  mass, peak = RNG.uniform(0.05, 0.95, count), RNG.normal(6, 2, count)
  odds = mass_slope * special.logit(mass) + peak_slope * peak + offset
  correct = RNG.random(count) < special.expit(odds)
  annotation = np.stack([np.arange(count) // 3, np.arange(count) % 3], axis=1)
  return Outcomes(mass, peak, correct, 3.0 * RNG.chisquare(2, count), annotation)


def test_a_logistic_world_is_recovered():
  outcomes = _outcomes()
  fitted = fitting._fit(outcomes)
  assert fitted["mass_slope"] == pytest.approx(0.7, abs=0.05)
  assert fitted["peak_slope"] == pytest.approx(0.2, abs=0.03)
  assert fitted["offset"] == pytest.approx(-1.4, abs=0.2)
  assert fitted["covariance_scale"] == pytest.approx(3.0, rel=0.05)
  assert fitted["keypoints"] == 40_000 and fitted["wrong"] == (~outcomes.correct).sum()
  confidence = calibration.Calibration(**fitted, **ABOUT).confidence(*outcomes[:2])
  assert reliability.measure(confidence, outcomes.correct).error < 0.02
  assert confidence.mean() == pytest.approx(outcomes.correct.mean(), abs=1e-3)


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("peaks", ["like the mass", "against the mass", "constant"])
@pytest.mark.parametrize("count", [12, 240, 5_000])
def test_all_right_or_all_wrong_keeps_the_order_of_the_scores(is_right, peaks, count):
  """And nothing is surer than n right, or n wrong, out of n can prove."""
  outcomes = _outcomes(count)
  factor = {"like the mass": 3.0, "against the mass": -3.0, "constant": 0.0}[peaks]
  outcomes = outcomes._replace(
    correct=np.full(count, is_right), peak=6 + factor * outcomes.mass
  )
  fitted = fitting._fit(outcomes)
  assert fitted["wrong"] == (0 if is_right else count)
  assert fitted["mass_slope"] > 0.1  # not only in name
  calibrated = calibration.Calibration(**fitted, **ABOUT)
  confidence = calibrated.confidence(outcomes.mass, outcomes.peak)
  np.testing.assert_array_equal(np.argsort(confidence), np.argsort(outcomes.mass))
  sure = np.max(confidence if is_right else 1 - confidence)
  bound = (count + 1) / (count + 2)
  assert sure <= bound and calibrated.ceiling == bound
  mean = np.mean(confidence if is_right else 1 - confidence)
  assert mean > bound - 2 / (count + 2) - 0.02  # as much as is proven, nearly
  for mass in (0.0, 1.0):
    found = calibrated.confidence(np.array(mass), np.array(6.0))
    assert 1 - bound <= found <= bound


@pytest.mark.parametrize("right", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["random", "against the scores"])
@pytest.mark.parametrize("count", [12, 240, 5_000])
def test_slopes_are_positive_whatever_the_labels(right, kind, count):
  outcomes = _outcomes(count)
  correct = RNG.random(count) < right
  if kind == "against the scores":
    correct = outcomes.mass + outcomes.peak / 10 < np.quantile(outcomes.mass, right)
  fitted = fitting._fit(outcomes._replace(correct=correct))
  assert fitted["mass_slope"] > 0 and fitted["peak_slope"] >= 0
  assert np.isfinite(list(fitted.values())).all()


def test_a_keypoint_asked_for_again_and_again_proves_no_more():
  outcomes = _outcomes(60)
  again = Outcomes(*(np.concatenate([field] * 10) for field in outcomes))
  once, often = map(fitting._fit, (outcomes, again))
  assert often == pytest.approx(once, rel=1e-3, abs=1e-3)
  # Wrong once is wrong: what one support does not find is not sure.
  half = again._replace(correct=np.arange(600) >= 60)
  assert fitting._fit(half)["wrong"] == 60


def test_one_of_many_data_sets_says_what_it_was_fitted_on():
  fitted = calibration.Calibration(**fitting._fit(_outcomes(50)), **ABOUT)
  assert not fitted.scope
  assert not dataclasses.replace(fitted, sources=("faces",)).scope
  both = dataclasses.replace(fitted, sources=("faces", "lips"))
  assert "Confidence was fitted on faces, lips" in both.scope
  assert calibration._parse(json.loads(calibration.to_json(both))) == both


def test_an_older_file_has_no_count_of_the_wrong(tmp_path):
  """And one written today comes back as it was."""
  fitted = calibration.Calibration(**fitting._fit(_outcomes(50)), **ABOUT)
  fitting._write(fitted, {"s": reliability.measure(*CURVE)}, tmp_path)
  assert calibration.load(tmp_path) == fitted
  path = tmp_path / calibration.FILE
  content = json.loads(path.read_text())
  for name in ("wrong", "prior", "sources"):
    del content["calibration"][name]
  path.write_text(json.dumps(content))
  assert calibration.load(tmp_path) == dataclasses.replace(fitted, wrong=None)


def test_the_prior_is_stored_with_the_calibration_and_must_be_whole(tmp_path):
  prior = Prior(strength=1.5, sigma=0.03)
  fitted = calibration.Calibration(**fitting._fit(_outcomes(50)), **ABOUT, prior=prior)
  fitting._write(fitted, {"s": reliability.measure(*CURVE)}, tmp_path)
  assert calibration.load(tmp_path) == fitted
  assert calibration._parse(json.loads(calibration.to_json(fitted))) == fitted
  path = tmp_path / calibration.FILE
  for damage in ({"strength": "high"}, {"sigma": 0.0}, {"sigma": None}, {"mu": 1.0}):
    content = json.loads(path.read_text())
    content["calibration"]["prior"] |= damage
    (tmp_path / "damaged").mkdir(exist_ok=True)
    (tmp_path / "damaged" / calibration.FILE).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is damaged"):
      calibration.load(tmp_path / "damaged")


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
def calibrate(shapes_folder, tmp_path):
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
      lost = (batch.keypoint_ids == LOST)[:, None, :, None]
      shape = points.shape[:-1]
      return Readout(
        np.where(lost, points + 100, points),
        np.broadcast_to(np.eye(2), (*shape, 2, 2)),
        RNG.random(shape),
        np.zeros(shape),
      )

    scored = {
      setting: scoring.score(
        {"it": read},
        feed,
        evaluation_sampler(feed, setting, cfg.eval),
        cfg.eval,
        episodes=cfg.eval.episodes,
      ).outcomes["it"]
      for setting in settings
    }
    species.clear()
    found = fitting.calibrate(
      read,
      scored,
      cfg=cfg,
      feed=feed,
      samplers=fitting.fitting_samplers(feed, cfg.eval),
      step=7,
      workdir=tmp_path,
    )
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


def test_what_was_scored_already_is_not_run_again(calibrate):
  whole, _, species, _ = calibrate()
  assert species
  again, _, species, _ = calibrate("validation/base", "validation/novel")
  assert not species and again.keypoints == whole.keypoints


def test_a_split_too_small_to_calibrate_on_is_named(shapes_folder):
  cfg = shapes.config(shapes_folder)
  cfg.eval.queries = 100
  with pytest.raises(ValueError, match="setting 'validation/base'"):
    fitting.fitting_samplers(Feed.open(cfg.data), cfg.eval)
