"""Leaves labelled images out, scores predictions on them, and judges a gain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import special

from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.own_labels.examples import Examples
from fskd_jax.own_labels.views import POSES, view
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.supports import Support

THRESHOLDS = 0.05, 0.1, 0.15, 0.2
"""Distances, in units of the longer side of the box, whose PCK is averaged: a finer
measure than PCK@0.1 alone where there are few points."""


SURE = 0.95
"""Probability with which a gain must be one."""

LIKELY = 0.9
"""Probability with which a loss must be one."""


class Fold(NamedTuple):
  """Rows of labelled objects that are learned from, and rows that are left out."""

  train: list[int]
  held: list[int]


class Scores(NamedTuple):
  """Scores of o objects, 0..1, each the mean over its keypoints.

  Attributes:
    mean: PCK averaged over `THRESHOLDS`; NaN for an object without a known keypoint.
    pck: PCK@0.1, likewise.
  """

  mean: Float[np.ndarray, " o"]
  pck: Float[np.ndarray, " o"]


def folds(units: Int[np.ndarray, " i"], count: int, seed: int = 0) -> list[Fold]:
  """Returns at most `count` folds; every clip or image is left out once.

  Args:
    units: Number of the clip or image of each object; a fold divides none.
    count: Number of folds.
    seed: Seed of the order.

  Returns:
    The folds; none if there is a single clip or image.
  """
  different = np.unique(units)
  if len(different) < 2:
    return []
  order = np.random.default_rng(seed).permutation(different)
  parts = np.array_split(order, min(count, len(different)))
  held = [np.isin(units, part) for part in parts]
  return [Fold(np.flatnonzero(~h).tolist(), np.flatnonzero(h).tolist()) for h in held]


def scores_of(distances: Float[np.ndarray, "o n"]) -> Scores:
  """Returns the scores of objects, given relative distances; NaN is no keypoint."""
  known = np.isfinite(distances)
  count = np.where(known.any(1), known.sum(1), np.nan)

  def pck(threshold: float) -> Float[np.ndarray, " o"]:
    return (known & (np.nan_to_num(distances, nan=np.inf) <= threshold)).sum(1) / count

  return Scores(np.mean([pck(t) for t in THRESHOLDS], axis=0), pck(THRESHOLD))


def score_left_out(
  detector: KeypointDetector, examples: Examples, fold: Fold
) -> Scores:
  """Scores the objects left out, with the others as support."""
  support = examples.support(detector, fold.train)
  found = examples.predict(detector, support, fold.held)
  return scores_of(examples.distances(found, fold.held))


def score_views(
  detector: KeypointDetector,
  support: Support,
  pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]],
  boxes: Float[np.ndarray, "o 4"],
) -> Scores:
  """Scores how well points of images are found again in turned and zoomed views.

  Args:
    detector: The detector.
    support: The keypoint types, encoded by the detector.
    pixels: Images without labels.
    boxes: Box of the object in each.
  """
  whole = detector.predict(support, pixels, [tuple(box) for box in boxes])
  distances = []
  for image, box, points in zip(pixels, boxes, whole.keypoints):
    seen = [view(image, tuple(box), *pose) for pose in POSES]
    found = detector.predict(support, [v.pixels for v in seen], [v.box for v in seen])
    before = np.stack([v.seen(points) for v in seen])
    sides = np.array([v.box[2] for v in seen])
    distances.append(np.linalg.norm(found.keypoints - before, axis=-1) / sides[:, None])
  return scores_of(np.concatenate(distances))


def best(scores: Float[np.ndarray, "a o"]) -> int:
  """Returns the choice with the highest mean score, if it probably beats the first.

  Args:
    scores: Scores of a choices on the same o objects; NaN is left out.

  Returns:
    Its number; 0 if no gain over the first choice is above 0 with a probability of
    95 %, by Student's t.
  """
  gain, error = _gains(scores, SURE)
  return int(np.where(gain > error, gain, 0.0).argmax())


def worse(scores: Float[np.ndarray, "a o"]) -> Bool[np.ndarray, " a"]:
  """Returns which choices probably have a lower mean score than the first."""
  gain, error = _gains(scores, LIKELY)
  return gain < -error


def _gains(
  scores: Float[np.ndarray, "a o"], probability: float
) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
  """Returns mean gains over the first choice, and what they must exceed."""
  scores = scores[:, np.isfinite(scores).all(0)]
  gains = scores - scores[:1]
  count = gains.shape[1]
  if count < 2:
    return np.zeros(len(gains)), np.zeros(len(gains))
  error = gains.std(1, ddof=1) / np.sqrt(count)
  return gains.mean(1), error * special.stdtrit(count - 1, probability)
