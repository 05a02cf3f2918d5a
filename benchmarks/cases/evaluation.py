"""(e) Evaluation from episodes to scores, with the detector of the quickstart.

Weights are random: speed does not depend on them. Beside the whole: the same one
episode at a time, as the original does; the planning of the episodes alone; the
network alone on a batch that stays. Then all that evaluate.py does but the search for
objects: first, and again, when what the untrained encoder predicted is kept.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.harness.problem import Problem, Setup, Side
from benchmarks.opponents import ours
from configs import quickstart
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import evaluation_index_batches
from fskd_jax.device import parallel
from fskd_jax.few_shot import evaluation, remembered, scoring
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.metrics.results import results_folder
from fskd_jax.models.build import make_detector

CACHE = pathlib.Path(__file__).parents[2] / "data_cache"
SETTING = "unseen/novel"


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the evaluation."""
  episodes = 1000 if setup.is_full else 40
  cfg = configuration(images_per_species=50 if setup.is_full else 12)
  yield Problem(
    name=f"{episodes} episodes, quickstart",
    variables={"episodes": episodes},
    sides={
      "ours": {"": functools.partial(_whole, cfg, episodes)},
      "one episode at a time": {"": functools.partial(_one_by_one, cfg, episodes)},
      "plans alone": {"": functools.partial(_plans, cfg, episodes)},
      "network alone": {"": functools.partial(_network, cfg, episodes)},
    },
    checks=(("ours", "one episode at a time"),),
    items=episodes * (cfg.eval.shots + cfg.eval.queries),
  )
  yield Problem(
    name=f"evaluation of a run, {episodes} episodes of each setting",
    variables={"episodes": episodes},
    sides={
      "again": {"": functools.partial(_run, cfg, episodes, True)},
      "first": {"": functools.partial(_run, cfg, episodes, False)},
    },
    is_long=setup.is_full,
  )


def configuration(images_per_species: int) -> Config:
  """Returns configs/quickstart.py with fewer images."""
  cfg = quickstart.get_config()
  cfg.data.images_per_species = images_per_species
  cfg.data.cache_dir = str(CACHE)
  return cfg


def _open(cfg: Config) -> tuple[Feed, Any, Any]:
  """Opens the data, and returns it with its sampler and (batch) -> predictions."""
  place = functools.partial(parallel.replicate, backend="single")
  feed = Feed.open(cfg.data)
  variables = place(ours.random_variables(make_detector(cfg)))
  predict = scoring.reader_of(cfg, feed, variables, "single")
  return feed, evaluation_sampler(feed, SETTING, cfg.eval), predict


def _whole(cfg: Config, episodes: int) -> Side:
  feed, sampler, predict = _open(cfg)

  def run() -> dict[str, Any]:
    record = scoring.score(
      {"detector": predict}, feed, sampler, cfg.eval, episodes=episodes
    ).record
    return record["scores"]["detector"]["pck"]

  def numbers(pck: dict[str, Any]) -> list[np.ndarray]:
    # None, that is NaN, is an episode without a valid keypoint.
    return [np.nan_to_num(np.array(x, np.float32)) for x in pck.values()]

  return Side(run, numbers)


def _one_by_one(cfg: Config, episodes: int) -> Side:
  evaluation = dataclasses.replace(cfg.eval, batch_episodes=1)
  return _whole(dataclasses.replace(cfg, eval=evaluation), episodes)


def _run(cfg: Config, episodes: int, is_again: bool) -> Side:
  """Evaluates as evaluate.py does; again, what the baseline predicted is kept."""
  settings = ("unseen/base", "unseen/novel")
  changed = {"episodes": episodes, "settings": settings, "search_episodes": 0}
  cfg = dataclasses.replace(cfg, eval=dataclasses.replace(cfg.eval, **changed))
  variables = ours.random_variables(make_detector(cfg))
  folder = tempfile.TemporaryDirectory()
  kept = results_folder(folder.name, cfg.eval) / remembered.FILE

  def run() -> dict[str, Any]:
    return evaluation.evaluate(cfg, variables, 0, folder.name)

  def numbers(results: dict[str, Any]) -> list[np.ndarray]:
    return [np.array(jax.tree.leaves(results["settings"]), np.float64)]

  before = (lambda: None) if is_again else (lambda: kept.unlink(missing_ok=True))
  return Side(run, numbers, before=before)


def _plans(cfg: Config, episodes: int) -> Side:
  feed, sampler, _ = _open(cfg)
  size = cfg.eval.batch_episodes

  def run() -> int:
    indices = evaluation_index_batches(episodes, size, 0, 1)
    with feed.batches(sampler, indices, size) as batches:
      return sum(1 for _ in batches)

  return Side(run, lambda count: [np.array(count, np.float32)])


def _network(cfg: Config, episodes: int) -> Side:
  feed, sampler, predict = _open(cfg)
  size = cfg.eval.batch_episodes
  with feed.batches(sampler, [range(size)], size) as batches:
    batch = next(batches)

  def run() -> np.ndarray:
    return np.stack([predict(batch) for _ in range(-(-episodes // size))])

  return Side(run, lambda found: [found])
