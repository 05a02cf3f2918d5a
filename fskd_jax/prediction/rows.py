"""Rows of objects in images: the boxes that a user gave, and those that were found."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax.prediction.support_points import Box, checked_box

Boxes = Any
"""The box of an image's object, those of several, or None where it is not known."""


class Rows(NamedTuple):
  """The places of r objects in a list of images.

  Attributes:
    numbers: Number of each object's image in the list, from 0; ascending.
    boxes: (x, y, width, height) of each object, pixels.
    given: Whether the user gave the box: those found are squares, which say nothing
      about the shape of the object.
  """

  numbers: Int[np.ndarray, " r"]
  boxes: Float[np.ndarray, "r 4"]
  given: Bool[np.ndarray, " r"]

  def shapes(self) -> Float[np.ndarray, "r 2"]:
    """Returns (width, height) of the boxes that were given; NaN for the others."""
    return np.where(self.given[:, None], self.boxes[:, 2:], np.nan)

  def __getitem__(self, rows: slice) -> "Rows":  # pyright: ignore[reportIncompatibleMethodOverride]
    """Returns some of the objects."""
    return Rows(self.numbers[rows], self.boxes[rows], self.given[rows])


def per_image(boxes: Boxes) -> list[Box] | None:
  """Returns the boxes of an image as a list; None if they are not known."""
  if boxes is None:
    return None
  is_list = isinstance(boxes, (Sequence, np.ndarray)) and len(boxes) > 0
  several = is_list and all(isinstance(box, (Sequence, np.ndarray)) for box in boxes)
  return [*boxes] if several else [boxes]  # pyright: ignore[reportReturnType]


def placed(
  boxes: Sequence[Boxes],
  sizes: Sequence[tuple[int, int]],
  labels: Sequence[str],
  find: Callable[[list[int]], tuple[np.ndarray, np.ndarray]],
) -> Rows:
  """Returns the rows of all images, in their order.

  Args:
    boxes: Boxes of each image that a user gave, or None.
    sizes: (width, height) of the images.
    labels: Names of the images in messages.
    find: Function that searches for the objects of the images with these numbers: the
      place of each object's image among them, ascending, and its box.

  Raises:
    ValueError: A box is empty, or lies outside its image.
  """
  known = [per_image(entry) for entry in boxes]
  numbers = np.repeat(range(len(known)), [len(x or ()) for x in known])
  given = [
    checked_box(box, size, label)
    for entry, size, label in zip(known, sizes, labels)
    for box in entry or ()
  ]
  missing = [i for i, entry in enumerate(known) if entry is None]
  places, found = find(missing) if missing else (np.zeros(0, int), np.zeros((0, 4)))
  numbers = np.concatenate([numbers, np.array(missing, int)[places]])
  order = np.argsort(numbers, kind="stable")
  every = np.concatenate([np.array(given, np.float64).reshape(-1, 4), found])
  return Rows(numbers[order], every[order], (order < len(given)))
