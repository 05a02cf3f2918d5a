"""Predicts labelled objects from others, several times, and how far to believe it."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.own_labels import holding_out
from fskd_jax.own_labels.examples import Examples
from fskd_jax.prediction.detector import KeypointDetector

SHOTS = 5
"""Number of objects in a support."""

TURNS = 3
"""Number of supports that every object is predicted from: some hold wrong labels."""

FOLDS = 4

_HAND = 0.01
"""Error of a careful hand, in units of the longer side of the box."""

_USUAL = 6
"""Predictions that the share of all types counts for in the share of one."""

_MEDIAN = 1.386
"""Median of the squared Mahalanobis distance of a Gaussian in the plane."""


class Expected(NamedTuple):
  """Expected places of the labels of o objects, by t predictions of each.

  Attributes:
    points: Predicted keypoints, pixels; NaN where no support shows the type.
    spread: Covariance of the labels around them, square pixels.
    trust: Probability that a label is there at all, 0..1.
    area: Area of the square of the box, in which a stray label may be anywhere.
  """

  points: Float[np.ndarray, "t o n 2"]
  spread: Float[np.ndarray, "t o n 2 2"]
  trust: Float[np.ndarray, "t o n"]
  area: Float[np.ndarray, " o"]

  def log_density(
    self, row: int, places: Float[np.ndarray, "p 2"]
  ) -> Float[np.ndarray, "p n"]:
    """Returns the log-density of labels of every type at places in an object's image.

    A mixture over the predictions; in each, a Gaussian and the stray labels.
    """
    offsets = places[None, :, None] - self.points[:, row, None]
    spread = self.spread[:, row, None]
    squares = (offsets * np.linalg.solve(spread, offsets[..., None])[..., 0]).sum(-1)
    with np.errstate(invalid="ignore"):  # NaN where nothing is predicted
      peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(spread)))
    trust = self.trust[:, row, None]
    found = trust * peak * np.exp(-squares / 2) + (1 - trust) / self.area[row]
    stray = 1 / self.area[row]
    return np.log(np.where(np.isfinite(found), found, stray).mean(0))

  def distance(
    self, row: int, place: Float[np.ndarray, "2"], kind: int
  ) -> float | None:
    """Returns the distance from the nearest prediction, in standard deviations.

    None where no other object has the type, so that it is not predicted.
    """
    offsets = place - self.points[:, row, kind]
    solved = np.linalg.solve(self.spread[:, row, kind], offsets[..., None])[..., 0]
    nearest = np.fmin.reduce((offsets * solved).sum(-1))
    return float(np.sqrt(nearest)) if np.isfinite(nearest) else None

  def center(self, row: int) -> Float[np.ndarray, "n 2"]:
    """Returns the median of the predictions of an object, pixels."""
    return np.median(self.points[:, row], axis=0)


def expect(
  detector: KeypointDetector,
  examples: Examples,
  units: Int[np.ndarray, " i"],
  *,
  progress: Callable[[Iterable], Iterable] = lambda x: x,
) -> Expected:
  """Predicts every object from others that share no clip or image with it.

  Most labels are taken to be right: the median distance from them gives the scale of
  the spread, and they tell how far predictions are trusted.

  Args:
    detector: The detector.
    examples: The objects.
    units: Number of the clip or image of each object.
    progress: Wrapper of the iterable of predictions.

  Raises:
    ValueError: All objects are of one clip or image.
  """
  found: list[dict[int, tuple[np.ndarray, ...]]] = [{} for _ in range(TURNS)]
  for turn, held, support in progress([*_plan(examples, units)]):
    encoded = examples.support(detector, support)
    prediction = examples.predict(detector, encoded, held)
    fields = prediction.keypoints, prediction.covariance, prediction.confidence
    found[turn] |= {row: values for row, *values in zip(held, *fields)}
  order = range(len(examples.instances))
  points, spread, trust = (
    np.stack([np.stack([found[t][row][i] for row in order]) for t in range(TURNS)])
    for i in range(3)
  )
  labels = np.stack([examples.points(row) for row in order])
  sides = np.array([examples.side(row) for row in order])
  spread = spread + np.eye(2) * ((_HAND * sides) ** 2)[:, None, None, None]
  offsets = labels - points
  far = np.linalg.norm(offsets, axis=-1) / sides[:, None]
  near = np.where(np.isfinite(far), far <= THRESHOLD, np.nan)
  squares = (offsets * np.linalg.solve(spread, offsets[..., None])[..., 0]).sum(-1)
  of_near = squares[near == 1]
  scale = max(float(np.median(of_near)) / _MEDIAN, 0.25) if of_near.size else 1.0
  trust = _trust(near, np.nan_to_num(trust), _agree(points, sides))
  return Expected(points, spread * scale, trust, np.maximum(sides, 1.0) ** 2)


def _agree(
  points: Float[np.ndarray, "t o n 2"], sides: Float[np.ndarray, " o"]
) -> Bool[np.ndarray, "o n"]:
  """Returns whether all predictions of a keypoint are at one place."""
  apart = np.linalg.norm(points - np.median(points, axis=0), axis=-1)
  return (apart <= THRESHOLD / 2 * sides[:, None]).all(0)


def _trust(
  near: Float[np.ndarray, "t o n"],
  confidence: Float[np.ndarray, "t o n"],
  agree: Bool[np.ndarray, "o n"],
) -> Float[np.ndarray, "t o n"]:
  """Returns the probability that a label is where it is predicted.

  Confident predictions that agree are trusted as often as they are right in this data
  set, type by type; others by their confidence, but no more often than that.

  Args:
    near: 1 if the label is at the prediction, 0 if not; NaN where there is none.
    confidence: Confidence of the predictions.
    agree: Whether the predictions of a keypoint agree.
  """
  sure = agree & (confidence.mean(0) >= 0.5)
  trust = confidence
  for group in (sure, ~sure):
    of_group = np.where(group, near, np.nan)
    right, asked = np.nansum(of_group, (0, 1)), np.isfinite(of_group).sum((0, 1))
    usual = (right.sum() + 1) / (asked.sum() + 2)
    share = (right + _USUAL * usual) / (asked + _USUAL)
    limit = share if group is sure else np.minimum(trust, share)
    trust = np.where(group, limit, trust)
  return trust


def _plan(
  examples: Examples, units: Int[np.ndarray, " i"]
) -> Iterator[tuple[int, list[int], list[int]]]:
  """Yields turn, the rows to predict, and the rows of their support."""
  for turn in range(TURNS):
    folds = holding_out.folds(units, FOLDS, seed=turn)
    if not folds:
      raise ValueError(
        f"{examples.dataset.name}: all labels are of one image or clip, expected two: "
        "labels are checked by predicting them from others"
      )
    rng = np.random.default_rng(turn)
    for fold in folds:
      support = rng.permutation(fold.train)[:SHOTS].tolist()
      yield turn, fold.held, support
