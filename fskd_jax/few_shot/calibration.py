"""Calibrates confidences on held-out episodes and measures how far to trust them.

A confidence is the probability that a predicted keypoint is right: that it is visible
in the query image and lies within `THRESHOLD` of the longer side of the box. It is a
logistic function of what `readout` says of the heat-map.
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
from jaxtyping import Array, Bool, Float
from PIL import Image
from scipy import optimize, special

from fskd_jax import geometry
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import evaluation_index_batches
from fskd_jax.device import parallel
from fskd_jax.device import store as image_store
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot.sampler import EpisodeSampler, evaluation_sampler
from fskd_jax.files import written_whole
from fskd_jax.heatmaps import readout
from fskd_jax.interop.weights import read_metadata
from fskd_jax.messages import DAMAGE, shown
from fskd_jax.metrics.reliability import Curves, measure
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps
from fskd_jax.pictures.calibration import draw_curves

_log = logging.getLogger(__name__)

THRESHOLD = 0.1
"""Of the longer box side: what is within it counts as found."""

FILE = "calibration.json"
"""Beside checkpoints/ in the folder of a run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
  """From heat-maps to probabilities.

  Attributes:
    mass_slope: of the log-odds of `Readout.mass`.
    peak_slope: of `Readout.peak`.
    offset: of the log-odds.
    covariance_scale: factor on `Readout.covariance`, which makes the squared
      Mahalanobis distance of found keypoints 2 on average, as of a Gaussian.
    split: the split it was fitted on.
    shots: support images per episode.
    keypoints: how many it was fitted on.
    step: of the checkpoint.
  """

  mass_slope: float
  peak_slope: float
  offset: float
  covariance_scale: float
  split: str
  shots: int
  keypoints: int
  step: int

  def confidence(
    self, mass: Float[np.ndarray, "..."], peak: Float[np.ndarray, "..."]
  ) -> Float[np.ndarray, "..."]:
    """Returns the probability of being right, 0..1."""
    return special.expit(
      self.mass_slope * _log_odds(mass) + self.peak_slope * peak + self.offset
    )


class Outcomes(NamedTuple):
  """Predicted keypoints that the support asked for, and how they turned out.

  Attributes:
    mass, peak: [e], see `Readout`.
    correct: bool [e].
    distance: [e], squared Mahalanobis distance to the truth; meaningless where not
      correct.
  """

  mass: Float[np.ndarray, " e"]
  peak: Float[np.ndarray, " e"]
  correct: Bool[np.ndarray, " e"]
  distance: Float[np.ndarray, " e"]


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
    return _parse(json.loads(path.read_text(encoding="utf-8"))["calibration"])
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
  detector = FewShotDetector(cfg.model, cfg.data.image_size)
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
  fields = (found.mass, found.peak, near & query.visible, (offsets * whitened).sum(-1))
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
  """Fits the logistic function by maximum likelihood.

  The labels are softened as by Platt (1999), so that the fit exists even if all
  keypoints are right.
  """
  mean, deviation = outcomes.peak.mean(), max(outcomes.peak.std(), 1e-6)
  columns = np.stack(
    [
      _log_odds(outcomes.mass),
      (outcomes.peak - mean) / deviation,
      np.ones(len(outcomes.mass)),
    ]
  )
  right, total = outcomes.correct.sum(), len(outcomes.correct)
  labels = np.where(
    outcomes.correct, (right + 1) / (right + 2), 1 / (total - right + 2)
  )

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    odds = weights @ columns
    value = np.logaddexp(0, odds) - labels * odds
    return value.mean(), columns @ (special.expit(odds) - labels) / total

  mass, peak, offset = optimize.minimize(loss, np.array([1.0, 0, 0]), jac=True).x
  distance = outcomes.distance[outcomes.correct]
  return {
    "mass_slope": float(mass),
    "peak_slope": float(peak / deviation),
    "offset": float(offset - peak * mean / deviation),
    "covariance_scale": float(distance.mean() / 2) if right else 1.0,
    "keypoints": total,
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
  with written_whole(workdir / FILE) as unfinished:
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
  (workdir / "eval").mkdir(exist_ok=True)
  Image.fromarray(draw_curves(curves)).save(workdir / "eval" / "calibration.png")
