"""Searches for the object when no box is given: detectors only work at one scale.

The keypoints found in the whole image, and those found in its most confident smaller
window, each give a square that brings the object to the scale of the support. The
detector is run in both, and the square with the higher score is the box.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from fskd_jax import geometry

Look = Callable[
  [Int[np.ndarray, " w"], Float[np.ndarray, "w 4"]],
  tuple[Float[np.ndarray, "w n 2"], Float[np.ndarray, "w n"]],
]
"""Predicts in boxes of images, given by their numbers: keypoints in pixels of the
images, and their raw scores (`Readout.mass`); both nan where the support shows none.

Never a calibrated confidence: a calibration is fitted on crops that show the object, so
it does not apply to windows beside it, and may hardly differ between windows."""

WINDOW = 0.5
"""Side of the smaller windows, as a fraction of the image's longer side."""

SMALLEST = 0.15
"""Smallest side of boxes estimated from keypoints, as a fraction of the same side."""


def find_boxes(
  look: Look,
  sizes: Sequence[tuple[int, int]],
  places: Float[np.ndarray, "k n 2"],
  crop_margin: float,
) -> Float[np.ndarray, "q 4"]:
  """Returns a box (x, y, w, h) of the object in each image, pixels.

  The box is the whole image if no support image has two keypoints, which define a
  scale.

  Args:
    look: Function that runs the detector in boxes.
    sizes: (width, height) of the images.
    places: Relative places of the support's keypoints, see `relative_places`; NaN where
      not visible.
    crop_margin: Ratio of the side of a crop to the longer side of its box.
  """
  if np.isfinite(places).all(-1).sum(1).max() < 2:
    return np.array([(0, 0, *size) for size in sizes], np.float64)
  starts = [windows(size) for size in sizes]
  numbers = np.repeat(range(len(sizes)), [len(rows) for rows in starts])
  squares = np.concatenate(starts) / [1, 1, crop_margin]  # a window is a crop
  squares, certainty, _ = zoom(look, sizes, places, numbers, squares)
  chosen = []
  for i in range(len(sizes)):
    whole, *smaller = np.flatnonzero(numbers == i)
    chosen += [whole, smaller[certainty[smaller].argmax()]]
  squares, certainty, _ = zoom(look, sizes, places, numbers[chosen], squares[chosen])
  better = certainty.reshape(-1, 2).argmax(1)
  return to_boxes(squares.reshape(-1, 2, 3)[np.arange(len(sizes)), better])


def windows(
  size: tuple[int, int], fractions: Sequence[float] = (WINDOW,)
) -> Float[np.ndarray, "w 3"]:
  """Returns the windows of the search: the image, and half-overlapping smaller ones.

  Args:
    size: (width, height) of the image.
    fractions: Sides of the smaller windows, as fractions of the image's longer side.

  Returns:
    Rows of centre (x, y) and side, pixels; the first is the whole image.
  """
  longer = max(size)
  found = [np.array([[(size[0] - 1) / 2, (size[1] - 1) / 2, longer]])]
  for fraction in fractions:
    side = fraction * longer
    x, y = (
      np.linspace(0, length - side, math.ceil((length - side) / (side / 2)) + 1)
      + (side - 1) / 2
      if length > side
      else np.array([(length - 1) / 2])
      for length in size
    )
    grid = np.stack(np.broadcast_arrays(x[:, None], y[None], side), axis=-1)
    found.append(grid.reshape(-1, 3))
  return np.concatenate(found)


def zoom(
  look: Look,
  sizes: Sequence[tuple[int, int]],
  places: Float[np.ndarray, "k n 2"],
  numbers: Int[np.ndarray, " w"],
  squares: Float[np.ndarray, "w 3"],
) -> tuple[
  Float[np.ndarray, "w 3"], Float[np.ndarray, " w"], Float[np.ndarray, "w n 2"]
]:
  """Runs the detector in squares of images.

  Args:
    look: Function that runs the detector in boxes.
    sizes: (width, height) of the images.
    places: Relative places of the support's keypoints; NaN where not visible.
    numbers: Number of the image of each square.
    squares: Centre (x, y) and side, pixels.

  Returns:
    The squares estimated from the keypoints, the mean scores, and the keypoints.
  """
  keypoints, scores = look(numbers, to_boxes(squares))
  estimated = [
    square_from_keypoints(points, sure, places, sizes[i])
    for points, sure, i in zip(keypoints, scores, numbers)
  ]
  squares = np.array(
    [old if new is None else new for old, new in zip(squares, estimated)]
  )
  return squares, np.nanmean(scores, axis=1), keypoints


def to_boxes(squares: Float[np.ndarray, "w 3"]) -> Float[np.ndarray, "w 4"]:
  """Returns (x, y, width, height) of squares given by centre and side."""
  sides = squares[:, 2:]
  return np.concatenate([squares[:, :2] - (sides - 1) / 2, sides, sides], axis=1)


def relative_places(
  keypoints: Float[np.ndarray, "k n 2"], boxes: Float[np.ndarray, "k 4"]
) -> Float[np.ndarray, "k n 2"]:
  """Returns keypoints from the centre of the box, in units of its longer side."""
  centers = geometry.box_center(boxes)[:, None]
  return (keypoints - centers) / boxes[:, None, 2:].max(-1, keepdims=True)


def square_from_keypoints(
  keypoints: Float[np.ndarray, "n 2"],
  scores: Float[np.ndarray, " n"],
  places: Float[np.ndarray, "k n 2"],
  size: tuple[int, int],
  sides: tuple[float, float] = (0.0, math.inf),
) -> Float[np.ndarray, "3"] | None:
  """Returns the square that places predicted keypoints as the support's in their box.

  The weighted mean and spread of the keypoints are compared, with the squared scores as
  weights. The squares of several support images are averaged.

  Args:
    keypoints: Predicted keypoints, pixels; NaN where there is none.
    scores: Scores of the keypoints, above 0.
    places: Relative places of the support's keypoints, see `relative_places`; NaN where
      not visible.
    size: (width, height) of the image.
    sides: Smallest and largest side, where they are known, pixels.

  Returns:
    Centre (x, y), inside the image, and side, pixels; None if no support image has
    two keypoints apart from each other.
  """
  found = []
  for center, place, side in _compared(keypoints, scores, places):
    side = np.clip(np.clip(side, *sides), SMALLEST * max(size), max(size))
    found.append((*(center - side * place), side))
  if not found:
    return None
  x, y, side = np.mean(found, axis=0)
  return np.array([np.clip(x, 0, size[0] - 1), np.clip(y, 0, size[1] - 1), side])


def side_from_keypoints(
  keypoints: Float[np.ndarray, "n 2"],
  scores: Float[np.ndarray, " n"],
  places: Float[np.ndarray, "k n 2"],
) -> float | None:
  """Returns the side of `square_from_keypoints` before it is limited."""
  sides = [side for *_, side in _compared(keypoints, scores, places)]
  return float(np.mean(sides)) if sides else None


def _compared(
  keypoints: Float[np.ndarray, "n 2"],
  scores: Float[np.ndarray, " n"],
  places: Float[np.ndarray, "k n 2"],
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
  """Yields the mean keypoint, its place in the square, and the side, by support."""
  for row in places:
    common = np.isfinite(row).all(-1) & np.isfinite(keypoints).all(-1)
    weights = scores[common] ** 2
    if not weights.any():
      continue
    weights = weights / weights.sum()
    place, spread = _mean_and_spread(row[common], weights)
    center, extent = _mean_and_spread(keypoints[common], weights)
    if spread > 1e-6:
      yield center, place, extent / spread


def _mean_and_spread(
  points: Float[np.ndarray, "n 2"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "2"], float]:
  mean = weights @ points
  return mean, math.sqrt(weights @ np.square(points - mean).sum(-1))
