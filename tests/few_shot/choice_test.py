"""The choice of the prior: the one that finds most keypoints, none if none helps."""

import dataclasses
import functools

import numpy as np
import pytest

from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import calibration, choice, evaluation, fitting
from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.few_shot.scoring import keypoint_reader, score
from fskd_jax.heatmaps.prior import Prior

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(trained):
  cfg, _, state = trained
  feed = Feed.open(cfg.data)
  samplers = fitting.fitting_samplers(feed, cfg.eval)
  return cfg, feed, samplers, {"params": state.params, "batch_stats": state.batch_stats}


def _pck(world, prior):
  cfg, feed, samplers, variables = world
  read = functools.partial(keypoint_reader(cfg, feed, prior=prior), variables)
  found = [
    score({"it": read}, feed, sampler, cfg.eval, episodes=cfg.eval.episodes)
    for sampler in samplers.values()
  ]
  return np.mean([s.summaries["it"]["pck"][f"{THRESHOLD:g}"]["mean"] for s in found])


def test_the_best_by_the_evaluation_itself_is_chosen(world, monkeypatch, caplog):
  monkeypatch.setattr(choice, "STRENGTHS", (0.5, 3.0))
  monkeypatch.setattr(choice, "SIGMAS", (0.05,))
  caplog.set_level("INFO")
  grid = [None, *(Prior(strength=s, sigma=0.05) for s in choice.STRENGTHS)]
  pck = [_pck(world, prior) for prior in grid]
  assert len(set(pck)) > 1
  assert choice.choose_prior(*world) == grid[int(np.argmax(pck))]
  assert f"{100 * pck[0]:.1f} %" in caplog.text
  assert f"{100 * max(pck):.1f} %" in caplog.text


def test_an_evaluation_chooses_once_and_stores_what_it_used(
  world, monkeypatch, tmp_path
):
  """Results, calibration and predictions have the same prior; off by one field."""
  cfg, _, _, variables = world
  prior, chosen = Prior(strength=3.0, sigma=0.05), []
  monkeypatch.setattr(choice, "choose_prior", lambda *_: chosen.append(prior) or prior)
  options = {"settings": ("seen/base",), "search_episodes": 0, "episodes": 4}
  found = {}
  for is_on in (True, False):
    asked = dataclasses.replace(cfg.eval, geometric_prior=is_on, **options)
    changed = dataclasses.replace(cfg, eval=asked)
    results = evaluation.evaluate(changed, variables, 80, tmp_path)
    found[is_on] = results["settings"]["seen/base"]["ne"]["mean"]
    assert results["prior"] == (dataclasses.asdict(prior) if is_on else None)
    assert calibration.load(tmp_path).prior == (prior if is_on else None)
  assert len(chosen) == 1 and found[True] != found[False]


def test_a_prior_that_finds_no_more_is_left_out(world, monkeypatch):
  monkeypatch.setattr(choice, "STRENGTHS", (0.0,))  # reads the same keypoints
  assert choice.choose_prior(*world) is None
