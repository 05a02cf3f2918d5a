"""Fits the calibration of a run on held-out episodes, and measures it."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import optimize, special

from fskd_jax.config import Config, EvalConfig
from fskd_jax.data.evaluation_batches import evaluation_batches
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot.calibration import FILE, Calibration, log_odds
from fskd_jax.few_shot.outcomes import Outcomes, concatenate, outcomes_of
from fskd_jax.few_shot.pools import checked_sampler
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.few_shot.scoring import Reader
from fskd_jax.files import write_json, write_picture
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.metrics.reliability import Curves, measure
from fskd_jax.pictures.calibration import draw_curves

_log = logging.getLogger(__name__)

FEW_WRONG = 20
"""Number of wrong keypoints below which a calibration is mostly its prior."""

_LOG_SLOPE_SPREAD = 0.5
"""Prior of the slope of the mass's log-odds: normal in its logarithm, about slope 1."""

_WEIGHT_SPREADS = 1.0, 5.0
"""Priors of the slope of the standardised peak, at least 0, and of the offset."""


def fitting_samplers(feed: Feed, cfg: EvalConfig) -> dict[str, EpisodeSampler]:
  """Returns the samplers of the settings to fit on, by setting, all of one split.

  These are the base and novel types of the validation split, of every source of a
  mixture; if that split is empty, those of seen, else of unseen.

  Raises:
    ValueError: All splits are empty, or the first that is not holds too little for an
      episode.
  """
  for split in ("validation", "seen", "unseen"):
    settings = feed.expand([f"{split}/{kind}" for kind in ("base", "novel")])
    held = [setting for setting in settings if not feed.why_empty(setting)]
    if held:
      return {setting: checked_sampler(feed, setting, cfg) for setting in held}
  raise ValueError(f"no split to calibrate on: {feed.why_empty('unseen/base')}")


def calibrate(
  read: Reader,
  scored: Mapping[str, Outcomes],
  *,
  cfg: Config,
  feed: Feed,
  samplers: Mapping[str, EpisodeSampler],
  step: int,
  workdir: str | os.PathLike,
  prior: Prior | None = None,
) -> Calibration:
  """Fits the calibration of a run, and measures it in every evaluation setting.

  Writes calibration.json and eval/calibration.png below the workdir.

  Args:
    read: The detector, which reads heat-maps out with `prior`.
    scored: Outcomes of the evaluation by setting, to measure the calibration on. A
      setting to fit on that is among them is not run again.
    cfg: Configuration of the run.
    feed: The data set.
    samplers: The settings to fit on, as returned by `fitting_samplers`.
    step: Step of the checkpoint, for the record.
    workdir: Folder of the run.
    prior: The prior, to be stored.
  """
  split = next(iter(samplers)).split("/")[0]
  if split != "validation":
    _log.warning("no validation split: confidence is calibrated on %r", split)
  fitted = _fit(
    concatenate(
      scored[setting] if setting in scored else _collect(cfg.eval, feed, read, sampler)
      for setting, sampler in samplers.items()
    )
  )
  sources = dict.fromkeys(setting.partition("@")[2] for setting in samplers)
  calibration = Calibration(
    **fitted,
    split=split,
    shots=cfg.eval.shots,
    step=step,
    prior=prior,
    sources=tuple(name or feed.dataset.name for name in sources),
  )
  if fitted["wrong"] < FEW_WRONG:
    _log.warning(
      "only %d of the %d %s keypoints were wrong, too few to learn which predictions "
      "to doubt: confidence follows the raw score, up to %.3f; more %s images help",
      fitted["wrong"], fitted["keypoints"], split, calibration.ceiling, split,
    )  # fmt: skip
  curves = {
    setting: measure(calibration.confidence(found.mass, found.peak), found.correct)
    for setting, found in scored.items()
  }
  if parallel.is_main_process():
    _write(calibration, curves, pathlib.Path(workdir))
  return calibration


def _collect(
  cfg: EvalConfig, feed: Feed, read: Reader, sampler: EpisodeSampler
) -> Outcomes:
  with evaluation_batches(feed, sampler, cfg.episodes, cfg.batch_episodes) as batches:
    return concatenate(outcomes_of(batch, read(batch)) for batch in batches)


def _fit(outcomes: Outcomes) -> dict[str, Any]:
  """Fits the logistic function: most probable a posteriori.

  The prior keeps the slopes positive and the offset finite for any labels. A keypoint
  that several episodes ask for has the weight of one. If all keypoints are right, or
  all wrong, the slope of the peak cannot be learned, and only the mass orders the
  confidences.
  """
  correct = outcomes.correct
  mean, deviation = outcomes.peak.mean(), max(outcomes.peak.std(), 1e-6)
  odds_of_mass, peaks = log_odds(outcomes.mass), (outcomes.peak - mean) / deviation
  _, index = np.unique(outcomes.annotation, axis=0, return_inverse=True)
  asked = np.bincount(index.ravel())
  wrong = np.bincount(index.ravel(), ~correct)
  share = len(asked) / len(correct)
  spreads = np.array([_LOG_SLOPE_SPREAD, *_WEIGHT_SPREADS])

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    slope = np.exp(weights[0])
    odds = slope * odds_of_mass + weights[1] * peaks + weights[2]
    value = share * (np.logaddexp(0, odds) - correct * odds).sum()
    excess = share * (special.expit(odds) - correct)
    slopes = np.array([excess @ odds_of_mass * slope, excess @ peaks, excess.sum()])
    scaled = weights / spreads
    return value + (scaled**2).sum() / 2, slopes + scaled / spreads

  highest = None if 0 < correct.sum() < len(correct) else 0
  bounds = [(None, None), (0, highest), (None, None)]
  mass, peak, offset = optimize.minimize(loss, np.zeros(3), jac=True, bounds=bounds).x
  distance = outcomes.distance[correct]
  return {
    "mass_slope": float(np.exp(mass)),
    "peak_slope": float(peak / deviation),
    "offset": float(offset - peak * mean / deviation),
    "covariance_scale": float(distance.mean() / 2) if len(distance) else 1.0,
    "keypoints": len(asked),
    "wrong": int((wrong > 0).sum()),
  }


def _write(
  calibration: Calibration, curves: Mapping[str, Curves], workdir: pathlib.Path
) -> None:
  content = {
    "calibration": dataclasses.asdict(calibration),
    "settings": {name: found._asdict() for name, found in curves.items()},
  }
  write_json(workdir / FILE, content)
  write_picture(workdir / "eval" / "calibration.png", draw_curves(curves))
