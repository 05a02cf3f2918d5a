"""Evaluates a few-shot detector and the baselines on fixed episodes."""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fskd_jax.config import Config, EvalConfig
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel, processes
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import baselines, choice, fitting, remembered, report
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.few_shot.outcomes import Outcomes
from fskd_jax.few_shot.pools import checked_sampler
from fskd_jax.few_shot.remembered import Remembered
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.few_shot.scoring import (
  Predictor,
  Reader,
  Scores,
  reader_of,
  score,
)
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.metrics import reliability
from fskd_jax.metrics.record import FILE
from fskd_jax.metrics.results import (
  headline,
  is_as_predicted,
  results_folder,
  write_report,
)
from fskd_jax.models.build import Model, make_detector
from fskd_jax.models.detector import init_variables
from fskd_jax.pictures import episodes as episode_pictures

_log = logging.getLogger(__name__)

Searcher = Callable[[Model, Calibration | None], Callable[..., dict[str, Any]]]
"""Function that returns `prediction.search_evaluation.compare` for a detector. It is an
argument because `prediction` stands above the tasks."""

Calibrator = Callable[[Reader, Mapping[str, Outcomes]], Calibration | None]
"""Function that calibrates a detector from its outcomes in every setting."""

DETECTOR = "detector"


def evaluate(
  cfg: Config,
  variables: Any,
  step: int,
  workdir: str | os.PathLike,
  search: Searcher | None = None,
) -> dict[str, Any]:
  """Evaluates a trained detector in every setting, and writes the results.

  Runs `measure` into the `results_folder`. Before, it chooses the prior that heat-maps
  are read out with (`choice.choose_prior`), and on the way it calibrates the run's
  confidence (`fitting.calibrate`). Both are of predictions as users get them: there is
  neither by the reference's protocol or with another decoding.

  Args:
    cfg: Configuration of the run; `eval` and `data` may differ from training.
    variables: Params and batch_stats of the detector.
    step: Step of the checkpoint, for the record.
    workdir: Folder of the run.
    search: The search to measure, as for `measure`.

  Returns:
    The content of results.json.

  Raises:
    ValueError: A setting, or the split to calibrate on, holds too little for an
      episode. It is raised before anything is scored.
  """
  feed = Feed.open(cfg.data, cfg.train.backend)
  samplers = setting_samplers(feed, cfg.eval)
  calibrator, prior = None, None
  if is_as_predicted(cfg.eval):
    fitted_on = fitting.fitting_samplers(feed, cfg.eval)
    if cfg.eval.geometric_prior:
      prior = choice.choose_prior(cfg, feed, fitted_on, variables)
    calibrator = functools.partial(
      fitting.calibrate,
      cfg=cfg,
      feed=feed,
      samplers=fitted_on,
      step=step,
      workdir=workdir,
      prior=prior,
    )
  folder = results_folder(workdir, cfg.eval)
  return measure(
    cfg, feed, samplers, variables, step, folder, calibrator, search, prior
  )


def setting_samplers(feed: Feed, cfg: EvalConfig) -> dict[str, EpisodeSampler]:
  """Returns the samplers of the settings that hold something to score.

  Raises:
    ValueError: All settings are empty, or one holds too little for an episode.
  """
  return {name: checked_sampler(feed, name, cfg) for name in feed.held(cfg.settings)}


def check_settings(feed: Feed, cfg: EvalConfig) -> None:
  """Checks, before training, that the settings hold episodes.

  Raises:
    ValueError: A setting is not empty, but holds too little for an episode.
  """
  for name in feed.held(cfg.settings, may_be_none=True):
    checked_sampler(feed, name, cfg)


def measure(
  cfg: Config,
  feed: Feed,
  samplers: Mapping[str, EpisodeSampler],
  variables: Any,
  step: int,
  folder: pathlib.Path,
  calibrator: Calibrator | None = None,
  search: Searcher | None = None,
  prior: Prior | None = None,
) -> dict[str, Any]:
  """Scores a detector and the baselines in every setting, and writes the results.

  One pass over the episodes gives the scores and the outcomes to calibrate on. Then the
  search for objects without a box is measured, if predictions are as users get them.
  Writes results.json, the scores of every episode (`record.FILE`), a table (table.txt,
  also logged) and episodes.png (worst, typical and best episodes). What the untrained
  encoder predicts is kept there for the next evaluation (`remembered`).

  Args:
    cfg: Configuration of the detector and of the evaluation.
    feed: The data set, on the devices of `cfg.train.backend`.
    samplers: The samplers by setting, as returned by `setting_samplers`.
    variables: Params and batch_stats of the detector.
    step: Step of the checkpoint, for the record.
    folder: Folder to write to; made if need be.
    calibrator: Calibrates the detector, or loads its calibration.
    search: Measures the search for objects; without it this part is left out.
    prior: The prior that the detector's heat-maps are read out with; None for none.

  Returns:
    The content of results.json.
  """
  trained = parallel.replicate(variables, backend=cfg.train.backend)
  read = reader_of(cfg, feed, trained, prior=prior)
  untrained = _untrained_encoder(cfg, feed, variables, folder)
  predictors = {
    DETECTOR: read,
    "copy_support": baselines.copy_support,
    "untrained_encoder": untrained,
  }
  scored = score_settings(cfg.eval, feed, samplers, predictors)
  untrained.keep()
  outcomes = {setting: found.outcomes[DETECTOR] for setting, found in scored.items()}
  calibrated = calibrator(read, outcomes) if calibrator else None
  settings = {setting: _entry(found) for setting, found in scored.items()}
  if calibrated:
    for setting, outcome in outcomes.items():
      sure = calibrated.confidence(outcome.mass, outcome.peak)
      settings[setting]["calibration_error"] = reliability.measure(
        sure, outcome.correct
      ).error
  if search and cfg.eval.search_episodes and is_as_predicted(cfg.eval):
    compare = search(Model(cfg, variables), calibrated)
    for setting, sampler in samplers.items():
      label = f"{setting}, searched"
      settings[setting]["search"] = compare(feed, sampler, cfg.eval, label)
  rows = []
  for setting, sampler in samplers.items():
    by_threshold = scored[setting].record["scores"][DETECTOR]["pck"]
    pck = np.array(by_threshold[f"{headline(cfg.eval):g}"], np.float64)
    rows += report.pictures(setting, sampler, feed, read, pck)
  head = _head(cfg, feed, step) | {"prior": prior and dataclasses.asdict(prior)}
  if calibrated:
    head["calibrated_on"] = list(calibrated.sources)
  results = head | {"settings": settings}
  if parallel.is_main_process():
    text = report.table(results, headline(cfg.eval))
    _log.info("step %d, %d-shot\n%s", step, cfg.eval.shots, text)
    records = {setting: found.record for setting, found in scored.items()}
    picture = episode_pictures.draw_episodes(rows)
    write_report(results, text, picture, folder, {FILE: head | {"settings": records}})
  return results


def score_settings(
  cfg: EvalConfig,
  feed: Feed,
  samplers: Mapping[str, EpisodeSampler],
  predictors: Mapping[str, Predictor],
) -> dict[str, Scores]:
  """Scores predictors in every setting, and returns the scores by setting."""
  return {
    setting: score(predictors, feed, sampler, cfg, episodes=cfg.episodes, label=setting)
    for setting, sampler in samplers.items()
  }


def _entry(found: Scores) -> dict[str, Any]:
  """Returns the entry of a setting in results.json."""
  baselines_of = {k: v for k, v in found.summaries.items() if k != DETECTOR}
  return found.summaries[DETECTOR] | {"baselines": baselines_of}


def _head(cfg: Config, feed: Feed, step: int) -> dict[str, Any]:
  return {
    "step": step,
    "config": cfg.name,
    "data": feed.dataset.name,
    "device": jax.devices()[0].device_kind,
    "protocol": cfg.eval.protocol,
    "decoding": cfg.eval.decoding,
    "shots": cfg.eval.shots,
    "queries": cfg.eval.queries,
    "seed": cfg.eval.seed,
  }


def _untrained_encoder(
  cfg: Config, feed: Feed, variables: Any, folder: pathlib.Path
) -> Remembered:
  """Returns the baseline that `baselines.untrained_model` describes."""
  bare = dataclasses.replace(cfg, model=baselines.untrained_model(cfg.model))
  fresh = init_variables(make_detector(bare), cfg.train.seed)
  if cfg.model.pyramid.beside or cfg.model.pyramid.inner:
    fresh = baselines.frozen_maps(fresh, variables)
  elif cfg.model.pretrained:
    drawn = fresh
    fresh = processes.together(
      lambda: pretrained_variables(drawn, cfg.model.pretrained, bare.model)
    )
  placed = parallel.replicate(fresh, backend=cfg.train.backend)
  read = reader_of(bare, feed, placed)

  def predict(batch: EpisodeBatch) -> np.ndarray:
    return np.asarray(read(batch).keypoints)

  return Remembered(folder / remembered.FILE, predict, bare, feed, fresh)
