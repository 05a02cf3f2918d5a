"""Calibrated confidences: the probability that a predicted keypoint is right.

Right means visible in the query image and found within `outcomes.THRESHOLD` of the
longer side of the box. A confidence is a logistic function of the `Readout` of a
heat-map, kept as far from 0 and 1 as the number of keypoints it was fitted on demands.
It holds for heat-maps read out with one prior, which is stored with it.
"""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float

from fskd_jax.files import read_json
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.interop.weights import read_metadata
from fskd_jax.messages import DAMAGE, shown

FILE = "calibration.json"
"""Name of the file, beside checkpoints/ in the folder of a run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
  """Map from the readout of heat-maps to probabilities.

  Attributes:
    mass_slope: Slope of the log-odds of `Readout.mass`, above 0.
    peak_slope: Slope of `Readout.peak`, at least 0.
    offset: Offset of the log-odds.
    covariance_scale: Factor on `Readout.covariance` that makes the squared Mahalanobis
      distance of found keypoints 2 on average, as for a Gaussian.
    split: Split that it was fitted on.
    shots: Support images per episode.
    keypoints: Number of keypoints it was fitted on; one that several episodes ask for
      is one.
    step: Step of the checkpoint.
    wrong: Number of the keypoints that were wrong in at least one episode; None where
      an older version did not count them.
    prior: The prior that heat-maps are read out with; None for none.
    sources: Names of the data sets that it was fitted on; of other kinds of things the
      confidence is a score. Empty where an older version did not store them.
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
  prior: Prior | None = None
  sources: tuple[str, ...] = ()

  def confidence(
    self, mass: Float[np.ndarray, "..."], peak: Float[np.ndarray, "..."]
  ) -> Float[np.ndarray, "..."]:
    """Returns the probability of being right, from 1 - `ceiling` to `ceiling`."""
    odds = self.mass_slope * log_odds(mass) + self.peak_slope * peak + self.offset
    with np.errstate(invalid="ignore"):  # NaN where the support has no keypoint
      probability = np.exp(-np.logaddexp(0, -odds))
    return (self.keypoints * probability + 1) / (self.keypoints + 2)

  @property
  def scope(self) -> str:
    """A sentence about things that it was not fitted on; "" for a single data set.

    A detector of one data set is used on more of the same, one of several is not.
    """
    if len(self.sources) < 2:
      return ""
    return (
      f"Confidence was fitted on {', '.join(self.sources)}; of other kinds of things "
      "it is a score, no probability"
    )

  @property
  def ceiling(self) -> float:
    """The highest confidence: n right keypoints out of n prove no more.

    By Laplace's rule of succession, (n + 1) / (n + 2).
    """
    return (self.keypoints + 1) / (self.keypoints + 2)


def load(workdir: str | os.PathLike) -> Calibration | None:
  """Returns the calibration stored with a run, or None.

  Raises:
    ValueError: The file is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not path.is_file():
    return None
  try:
    return _parse(read_json(path)["calibration"])
  except DAMAGE as error:
    raise ValueError(f"{path} is damaged ({error}); remove it") from error


def load_file(path: str | os.PathLike) -> Calibration | None:
  """Returns the calibration in an exported file, or None.

  Raises:
    ValueError: The file is damaged.
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
  values = dict(values)
  prior = values.pop("prior", None)
  if prior is not None:
    prior = Prior(**prior)
    _check_numbers(prior)
    if min(prior.strength, prior.sigma) <= 0:
      raise ValueError(f"prior is {shown(prior)}, expected numbers above 0")
  sources = values.pop("sources", ())
  if not all(isinstance(name, str) for name in sources):
    raise ValueError(f"sources is {shown(sources)}, expected names of data sets")
  calibration = Calibration(**values, prior=prior, sources=tuple(sources))
  _check_numbers(calibration, but=("split", "prior", "sources"))
  return calibration


def _check_numbers(record: Any, but: tuple[str, ...] = ()) -> None:
  for field in dataclasses.fields(record):
    value = getattr(record, field.name)
    if field.name in but or (field.name == "wrong" and value is None):
      continue
    if isinstance(value, str) or not math.isfinite(value):
      raise ValueError(f"{field.name} is {shown(value)}, expected a finite number")


def to_json(calibration: Calibration) -> str:
  """Returns a calibration as a line for the metadata of an exported file."""
  return json.dumps(dataclasses.asdict(calibration))


def log_odds(mass: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
  """Returns the log-odds of probabilities, those of 0 and 1 cut to be finite."""
  share = np.clip(np.asarray(mass, np.float64), 1e-6, 1 - 1e-6)
  return np.log(share) - np.log1p(-share)
