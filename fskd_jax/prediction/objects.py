"""Searches for several objects in an image: proposals, without duplicates.

Every window of the image proposes an object, as in the search for one (`search`). Each
proposal is looked at once more at its own scale; of those that agree on their
keypoints, the one with the highest score stays.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.prediction import search
from fskd_jax.prediction.search import Look
from fskd_jax.tracking import similarity

WINDOWS = (1 / 2, 1 / 3)
"""Sides of the smaller windows, as fractions of the image's longer side."""

PROPOSALS = 12
"""Most proposals of an image that are looked at again; three for each object asked for,
if that is more."""

LEAST = 0.75
"""Least score of an object where all are asked for, as a fraction of the best one's."""


def find_objects(
  look: Look,
  sizes: Sequence[tuple[int, int]],
  places: Float[np.ndarray, "k n 2"],
  crop_margin: float,
  most: int | None,
) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, "r 4"]]:
  """Returns the boxes of the objects in each image, best first.

  Args:
    look: Function that runs the detector in boxes.
    sizes: (width, height) of the images.
    places: Relative places of the support's keypoints; NaN where not visible.
    crop_margin: Ratio of the side of a crop to the longer side of its box.
    most: Number of objects in an image, at most; None for all whose score is `LEAST`
      of the best one's.

  Returns:
    Number of the image of each object, and its box (x, y, w, h), pixels.

  Raises:
    ValueError: No support image has two keypoints, which define a scale.
  """
  if np.isfinite(places).all(-1).sum(1).max() < 2:
    raise ValueError(
      "objects: several are told apart by their size, which takes two keypoints marked "
      "on a support image; give boxes, or mark another keypoint"
    )
  starts = [search.windows(size, WINDOWS) for size in sizes]
  numbers = np.repeat(range(len(sizes)), [len(rows) for rows in starts])
  squares = np.concatenate(starts) / [1, 1, crop_margin]
  again = max(PROPOSALS, 3 * (most or 0))
  for count in (again, most):
    seen = squares
    squares, scores, keypoints = search.zoom(look, sizes, places, numbers, squares)
    chosen = [
      rows[_best(keypoints[rows], scores[rows], squares[rows, 2], count)]
      for rows in (np.flatnonzero(numbers == i) for i in range(len(sizes)))
    ]
    numbers = np.repeat(range(len(sizes)), [len(rows) for rows in chosen])
    rows = np.concatenate(chosen)
    squares, seen = squares[rows], seen[rows]
  # Half of the way: one wrong keypoint moves an estimate far from what was seen.
  return numbers, search.to_boxes((seen + squares) / 2)


def _best(
  keypoints: Float[np.ndarray, "w n 2"],
  scores: Float[np.ndarray, " w"],
  sides: Float[np.ndarray, " w"],
  count: int | None,
) -> Int[np.ndarray, " k"]:
  """Returns the numbers of the best proposals of an image that are not duplicates."""
  rows = similarity.distinct(keypoints, scores, sides)
  if count is None:
    return rows[scores[rows] >= LEAST * scores[rows[0]]]
  return rows[:count]
