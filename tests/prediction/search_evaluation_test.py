"""Evaluation with and without boxes: the numbers that a user's own loop would find."""

import dataclasses
import functools

import numpy as np
import pytest

from fskd_jax.data.feed import Feed
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import keypoint_reader, score
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.metrics import results
from fskd_jax.models.build import Model
from fskd_jax.prediction import search_evaluation
from fskd_jax.prediction.detector import KeypointDetector

SETTING = "unseen/base"
EPISODES = 5
CALIBRATED = Calibration(
  mass_slope=1.0, peak_slope=0.0, offset=0.3, covariance_scale=1.0,
  split="validation", shots=1, keypoints=90, step=80, wrong=30,
  prior=Prior(strength=1.0, sigma=0.05),
)  # fmt: skip


@pytest.fixture(scope="module")
def world(trained):
  """(configuration, feed, sampler, detector), with two shots and three queries."""
  cfg, _, state = trained
  options = dataclasses.replace(
    cfg.eval, shots=2, queries=3, search_episodes=EPISODES, episodes=EPISODES
  )
  cfg = dataclasses.replace(cfg, eval=options)
  feed = Feed.open(cfg.data)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  detector = KeypointDetector(Model(cfg, variables), CALIBRATED)
  sampler = evaluation_sampler(feed, SETTING, cfg.eval)
  return cfg, feed, sampler, detector, variables


@pytest.fixture(scope="module")
def found(world):
  cfg, feed, sampler, detector, _ = world
  return search_evaluation.compare(detector, feed, sampler, cfg.eval)


@pytest.mark.slow
def test_with_boxes_it_is_the_evaluation(world, found):
  cfg, feed, sampler, _, variables = world
  read = keypoint_reader(cfg, feed, prior=CALIBRATED.prior)
  read = functools.partial(read, variables)
  scored = score({"it": read}, feed, sampler, cfg.eval, episodes=EPISODES).summaries
  assert found["episodes"] == EPISODES
  for threshold, mean in scored["it"]["pck"].items():
    # Crops are rounded to whole grey levels here, so a hit may tip over.
    other = found["boxes_given"]["pck"][threshold]
    assert other["mean"] == pytest.approx(mean["mean"], abs=0.05)


@pytest.mark.parametrize("way", results.SEARCH_WAYS)
def test_it_is_what_a_user_would_measure(world, found, shapes_folder, way):
  """Files, keypoints and boxes as in the annotation file, an episode at a time."""
  _, feed, sampler, detector, _ = world
  by_id = {i.instance_id: i for i in feed.dataset.instances}
  pck, sure, right = [], [], []

  def files(instances):
    names = feed.dataset.image_names
    return [shapes_folder / "images" / names[i.image] for i in instances]

  for index in range(EPISODES):
    plan = sampler.plan(index)
    ids = [k for k in plan.keypoint_ids if k >= 0]
    shots, queries = (
      [by_id[i] for i in views.instance] for views in (plan.support, plan.query)
    )
    points = [np.where(i.visible[ids, None], i.keypoints[ids], np.nan) for i in shots]
    support = detector.support(files(shots), points, [i.box for i in shots])
    given = way == "boxes_given"
    prediction = detector.predict(
      support, files(queries), [i.box for i in queries] if given else None
    )
    hits = []
    for row, confidence, i in zip(prediction.keypoints, prediction.confidence, queries):
      error = np.linalg.norm(row - i.keypoints[ids], axis=1) / max(i.box[2:])
      hits += list((error <= 0.1)[i.visible[ids] & support.shown])
      right += list(((error <= 0.1) & i.visible[ids])[support.shown])
      sure += list(confidence[support.shown])
    pck.append(np.mean(hits))
  assert found[way]["pck"]["0.1"]["mean"] == pytest.approx(np.mean(pck))
  assert found[way]["right"] == pytest.approx(np.mean(right))
  assert found[way]["confidence"] == pytest.approx(np.mean(sure), abs=1e-6)
  assert 0 <= found[way]["calibration_error"] <= 1


@pytest.mark.slow
def test_the_search_does_not_look_at_the_calibration(world, shapes_folder):
  """A flat one, as from an all-right validation, or even one that points down."""
  _, feed, _, detector, variables = world
  instances = feed.splits.unseen[:4]
  ids = [feed.dataset.keypoint_names.index(n) for n in ("north", "east", "middle")]
  first = instances[0]
  points = np.where(first.visible[ids, None], first.keypoints[ids], np.nan)
  paths = [
    shapes_folder / "images" / feed.dataset.image_names[i.image] for i in instances
  ]
  flat = dataclasses.replace(CALIBRATED, mass_slope=-1e-3, peak_slope=0, offset=5.5)
  down = dataclasses.replace(CALIBRATED, mass_slope=-1.0, peak_slope=-1.0)
  places = []
  for calibrated in (None, CALIBRATED, flat, down):
    other = KeypointDetector(Model(detector.config, variables), calibrated)
    support = other.support(paths[:1], [points], [first.box])
    places.append(other.predict(support, paths[1:]).box)
  for boxes in places[1:]:
    np.testing.assert_array_equal(boxes, places[0])
