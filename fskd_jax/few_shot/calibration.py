"""Calibrates confidences on held-out episodes and measures how far to trust them.

A confidence is the probability that a predicted keypoint is right: that it is visible
in the query image and lies within `THRESHOLD` of the longer side of the box. It is a
logistic function of what `readout` says of the heat-map, kept as far from 0 and 1 as
the number of keypoints it was fitted on demands.
"""

import dataclasses
import functools
import json
import logging
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy import optimize, special

from fskd_jax import geometry
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import evaluation_index_batches
from fskd_jax.device import parallel
from fskd_jax.device import store as image_store
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot.sampler import EpisodeSampler, evaluation_sampler
from fskd_jax.files import read_json, write_json, write_picture
from fskd_jax.heatmaps import readout
from fskd_jax.interop.weights import read_metadata
from fskd_jax.messages import DAMAGE, shown
from fskd_jax.metrics.reliability import Curves, measure
from fskd_jax.models.build import make_detector
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps
from fskd_jax.pictures.calibration import draw_curves

_log = logging.getLogger(__name__)

THRESHOLD = 0.1
"""Of the longer box side: what is within it counts as found."""

FILE = "calibration.json"
"""Beside checkpoints/ in the folder of a run."""

FEW_WRONG = 20
"""Below so many wrong keypoints a calibration is mostly its prior."""

_LOG_SLOPE_SPREAD = 0.5
"""Prior of the slope of the mass's log-odds: normal in its logarithm, about slope 1."""

_WEIGHT_SPREADS = 1.0, 5.0
"""Priors of the slope of the standardised peak, at least 0, and of the offset."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
  """From heat-maps to probabilities.

  Attributes:
    mass_slope: of the log-odds of `Readout.mass`, above 0.
    peak_slope: of `Readout.peak`, at least 0.
    offset: of the log-odds.
    covariance_scale: factor on `Readout.covariance`, which makes the squared
      Mahalanobis distance of found keypoints 2 on average, as of a Gaussian.
    split: the split it was fitted on.
    shots: support images per episode.
    keypoints: how many it was fitted on; one that several episodes ask for is one.
    step: of the checkpoint.
    wrong: how many of the keypoints were wrong, in one episode at least; None where
      an older version did not count them.
  """

  mass_slope: float
  peak_slope: float
  offset: float
  covariance_scale: float
  split: str
  shots: int
  keypoints: int
  step: int
  wrong: int | None = None

  def confidence(
    self, mass: Float[np.ndarray, "..."], peak: Float[np.ndarray, "..."]
  ) -> Float[np.ndarray, "..."]:
    """Returns the probability of being right, from 1 - `ceiling` to `ceiling`."""
    probability = special.expit(
      self.mass_slope * _log_odds(mass) + self.peak_slope * peak + self.offset
    )
    return (self.keypoints * probability + 1) / (self.keypoints + 2)

  @property
  def ceiling(self) -> float:
    """The highest confidence: n right keypoints out of n prove no more.

    By Laplace's rule of succession, (n + 1) / (n + 2).
    """
    return (self.keypoints + 1) / (self.keypoints + 2)


class Outcomes(NamedTuple):
  """Predicted keypoints that the support asked for, and how they turned out.

  Attributes:
    mass, peak: [e], see `Readout`.
    correct: bool [e].
    distance: [e], squared Mahalanobis distance to the truth; meaningless where not
      correct.
    annotation: [e 2], ids of the query instance and of the keypoint type: the same
      keypoint may be asked for in several episodes.
  """

  mass: Float[np.ndarray, " e"]
  peak: Float[np.ndarray, " e"]
  correct: Bool[np.ndarray, " e"]
  distance: Float[np.ndarray, " e"]
  annotation: Int[np.ndarray, "e 2"]


def calibrate(
  cfg: Config, feed: Feed, variables: Any, step: int, workdir: str | os.PathLike
) -> Calibration:
  """Fits the calibration of a run, and measures it in every evaluation setting.

  Fitted on the base and novel types of the validation split; where there is none, of
  seen, else of unseen, which the log then tells. Writes calibration.json and
  eval/calibration.png below the workdir.

  Args:
    cfg: of the run.
    feed: of `cfg.data`, on the devices of `cfg.train.backend`.
    variables: of the detector, on the same devices.
    step: of the checkpoint, for the record.
    workdir: of the run.

  Raises:
    ValueError: no split holds enough for an episode.
  """
  collect = functools.partial(_collect, cfg, feed, _reader(cfg, feed, variables))
  split, samplers = _fitting_samplers(feed, cfg)
  if split != "validation":
    _log.warning("no validation split: confidence is calibrated on %r", split)
  found = [collect(sampler) for sampler in samplers]
  fitted = _fit(Outcomes(*map(np.concatenate, zip(*found))))
  calibration = Calibration(**fitted, split=split, shots=cfg.eval.shots, step=step)
  if fitted["wrong"] < FEW_WRONG:
    _log.warning(
      "only %d of the %d %s keypoints were wrong, too few to learn which predictions "
      "to doubt: confidence follows the raw score, up to %.3f; more %s images help",
      fitted["wrong"], fitted["keypoints"], split, calibration.ceiling, split,
    )  # fmt: skip
  curves = {}
  for setting in cfg.eval.settings:
    if feed.why_empty(setting):
      continue
    outcomes = collect(evaluation_sampler(feed, setting, cfg.eval))
    confidence = calibration.confidence(outcomes.mass, outcomes.peak)
    curves[setting] = measure(confidence, outcomes.correct)
  if parallel.is_main_process():
    _write(calibration, curves, pathlib.Path(workdir))
  return calibration


def load(workdir: str | os.PathLike) -> Calibration | None:
  """Returns what `calibrate` stored with a run, or None.

  Raises:
    ValueError: the file is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not path.is_file():
    return None
  try:
    return _parse(read_json(path)["calibration"])
  except DAMAGE as error:
    raise ValueError(f"{path} is damaged ({error}); remove it") from error


def load_file(path: str | os.PathLike) -> Calibration | None:
  """Returns what `fskd export` put into a file, or None.

  Raises:
    ValueError: the file is damaged.
  """
  metadata = read_metadata(pathlib.Path(path))
  if "calibration" not in metadata:
    return None
  try:
    return _parse(json.loads(metadata["calibration"]))
  except DAMAGE as error:
    raise ValueError(f"{path}: its calibration cannot be read: {error}") from error


def _parse(values: Any) -> Calibration:
  """Builds a calibration from JSON; its numbers must be finite."""
  calibration = Calibration(**values)
  for field in dataclasses.fields(Calibration):
    value = getattr(calibration, field.name)
    if field.name != "split" and (isinstance(value, str) or not math.isfinite(value)):
      raise ValueError(f"{field.name} is {shown(value)}, expected a finite number")
  return calibration


def to_json(calibration: Calibration) -> str:
  """Returns a line for the metadata of an exported file."""
  return json.dumps(dataclasses.asdict(calibration))


def _reader(
  cfg: Config, feed: Feed, variables: Any
) -> Callable[[EpisodeBatch], np.ndarray]:
  detector = make_detector(cfg)
  temperature = readout.temperature(cfg.loss)
  step = functools.partial(_read_step, detector=detector, temperature=temperature)
  run = parallel.parallelize_evaluation(step, cfg.train.backend)
  return lambda batch: run(variables, batch, feed.store)


def _read_step(
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  store: image_store.ImageStore | None,
  *,
  detector: FewShotDetector,
  temperature: float,
) -> Float[Array, "b m n 8"]:
  """Returns x, y, the four numbers of the covariance, mass and peak."""
  side = detector.image_size
  batch = image_store.with_pixels(batch, store, (side, side))
  output: Any = detector.apply(variables, batch, train=False)
  heatmaps = fuse_heatmaps(output.heatmaps)
  found = readout.read_out(heatmaps, side / heatmaps.shape[-1], temperature)
  return readout.pack(found)


def _collect(
  cfg: Config,
  feed: Feed,
  read: Callable[[EpisodeBatch], np.ndarray],
  sampler: EpisodeSampler,
) -> Outcomes:
  size, parts = parallel.divisible_batch(cfg.eval.batch_episodes), []
  indices = evaluation_index_batches(cfg.eval.episodes, size, 0, 1)
  with feed.batches(sampler, indices, size) as batches:
    for batch in batches:
      parts.append(_outcomes(batch, readout.unpack(read(batch))))
  return Outcomes(*map(np.concatenate, zip(*parts)))


def _outcomes(batch: EpisodeBatch, found: readout.Readout) -> Outcomes:
  query = batch.query
  offsets = found.keypoints - query.keypoints
  side = np.maximum(query.box[..., 2:].max(-1), 1) / geometry.affine_scale(
    query.to_original
  )
  near = np.linalg.norm(offsets, axis=-1) <= THRESHOLD * side[..., None]
  whitened = np.linalg.solve(found.covariance, offsets[..., None])[..., 0]
  asked = np.broadcast_to(batch.support.visible.any(1)[:, None], query.visible.shape)
  annotation = np.stack(
    np.broadcast_arrays(query.instance[..., None], batch.keypoint_ids[:, None]), axis=-1
  )
  fields = (
    found.mass,
    found.peak,
    near & query.visible,
    (offsets * whitened).sum(-1),
    annotation,
  )
  return Outcomes(*(np.asarray(field)[asked] for field in fields))


def _fitting_samplers(feed: Feed, cfg: Config) -> tuple[str, list[EpisodeSampler]]:
  problem = None
  for split in ("validation", "seen", "unseen"):
    samplers = []
    for kind in ("base", "novel"):
      try:
        samplers.append(evaluation_sampler(feed, f"{split}/{kind}", cfg.eval))
      except ValueError as error:
        problem = error
    if samplers:
      return split, samplers
  raise ValueError(f"no split to calibrate on: {problem}")


def _fit(outcomes: Outcomes) -> dict[str, Any]:
  """Fits the logistic function: most probable a posteriori.

  The prior keeps the slopes positive and the offset finite, whatever the labels are. A
  keypoint that several episodes ask for weighs as one. Where all are right, or all
  wrong, nothing tells the use of the peak, and the mass alone orders the confidences.
  """
  correct = outcomes.correct
  mean, deviation = outcomes.peak.mean(), max(outcomes.peak.std(), 1e-6)
  log_odds, peaks = _log_odds(outcomes.mass), (outcomes.peak - mean) / deviation
  _, index = np.unique(outcomes.annotation, axis=0, return_inverse=True)
  asked = np.bincount(index.ravel())
  wrong = np.bincount(index.ravel(), ~correct)
  share = len(asked) / len(correct)
  spreads = np.array([_LOG_SLOPE_SPREAD, *_WEIGHT_SPREADS])

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    slope = np.exp(weights[0])
    odds = slope * log_odds + weights[1] * peaks + weights[2]
    value = share * (np.logaddexp(0, odds) - correct * odds).sum()
    excess = share * (special.expit(odds) - correct)
    slopes = np.array([excess @ log_odds * slope, excess @ peaks, excess.sum()])
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


def _log_odds(mass: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
  return special.logit(np.clip(np.asarray(mass, np.float64), 1e-6, 1 - 1e-6))


def _write(
  calibration: Calibration, curves: Mapping[str, Curves], workdir: pathlib.Path
) -> None:
  content = {
    "calibration": dataclasses.asdict(calibration),
    "settings": {name: found._asdict() for name, found in curves.items()},
  }
  write_json(workdir / FILE, content)
  write_picture(workdir / "eval" / "calibration.png", draw_curves(curves))
