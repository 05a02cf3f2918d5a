"""Turned and zoomed views of an image, in which the same object is found again."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from fskd_jax import geometry
from fskd_jax.prediction import photographs

SIDE = 320
"""Side of a view, pixels."""

POSES = ((-25.0, 1.0), (-12.0, 0.8), (12.0, 1.2), (25.0, 1.0))
"""Degrees clockwise and zoom of the views."""


class View(NamedTuple):
  """A square view of an object.

  Attributes:
    pixels: RGB.
    to_image: Matrix from pixels of the view to pixels of the image.
    box: (x, y, width, height) of the object in the view: a square.
  """

  pixels: UInt8[np.ndarray, "l l 3"]
  to_image: Float[np.ndarray, "2 3"]
  box: tuple[float, float, float, float]

  def seen(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Maps points of the image into the view; NaN where they are outside."""
    moved = geometry.apply_affine(geometry.invert_affine(self.to_image), points)
    inside = ((moved >= 0) & (moved <= SIDE - 1)).all(-1, keepdims=True)
    return np.where(inside, moved, np.nan)


def view(
  image: UInt8[np.ndarray, "h w 3"],
  box: tuple[float, float, float, float],
  degrees: float,
  zoom: float,
) -> View:
  """Returns a view twice as wide as the box of an object.

  Args:
    image: RGB.
    box: Box of the object, pixels.
    degrees: Angle of the view, clockwise.
    zoom: Ratio of the size of the object to that without a zoom.
  """
  square = np.asarray(box, np.float64)
  side = max(square[2:].max(), 2.0)
  matrix = geometry.crop_matrix(
    geometry.box_center(square), 2 * side / zoom, np.deg2rad(degrees), False,
    (SIDE, SIDE),
  )  # fmt: skip
  matrix = matrix.astype(np.float64)
  inner = SIDE / 2 * zoom
  corner = (SIDE - inner) / 2
  pixels = photographs.crop(image, matrix, SIDE)
  return View(pixels, matrix, (corner, corner, inner, inner))
