"""The coordinate conventions of the package and every conversion between them.

All coordinates are (x, y) with x to the right and y down; arrays are indexed
[row, column]. Pixel-index convention: the centre of pixel (0, 0) is (0.0, 0.0),
so an image of length L spans [-0.5, L - 0.5]. The centre of cell i of a map with
stride t lies at i * t + (t - 1) / 2. Source: docs/algorithm.md#coordinates.

The functions take NumPy or JAX arrays alike and return the kind they were given.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

Array = Any
"""A NumPy or a JAX array: everything here works on both."""

GAUSSIAN_CUT = 4.6052
"""Largest exponent of pooling weights and targets: beyond it they are below 1 % of
the peak and count as 0 (docs/algorithm.md#pooling)."""


def box_center(boxes: Array) -> Array:
  """Returns the centres of boxes (x, y, w, h), which cover the pixels x .. x + w - 1.

  Args:
    boxes: [..., 4], pixels.

  Returns:
    [..., 2], (x, y) pixel indices.
  """
  return boxes[..., :2] + (boxes[..., 2:] - 1) / 2


def crop_axes(
  angle: np.ndarray | float, mirrored: np.ndarray | bool
) -> Float[np.ndarray, "*b 2 2"]:
  """Returns the x and y axes of crops in their original images, as columns.

  Args:
    angle: [...], the angle of the crop's x axis, radians; positive is clockwise.
    mirrored: [...], whether left and right of the crop are exchanged.
  """
  angle, mirrored = np.broadcast_arrays(angle, mirrored)
  cos, sin, sign = np.cos(angle), np.sin(angle), np.where(mirrored, -1.0, 1.0)
  rows = np.stack([sign * cos, -sin], -1), np.stack([sign * sin, cos], -1)
  return np.stack(rows, axis=-2)


def crop_matrix(
  center: Float[np.ndarray, "*b 2"],
  width: np.ndarray | float,
  angle: np.ndarray | float,
  mirrored: np.ndarray | bool,
  size: tuple[int, int],
) -> Float32[np.ndarray, "*b 2 3"]:
  """Returns the matrices from pixels of crops to pixels of their original images.

  Args:
    center: [..., 2], (x, y) of the crop's centre, pixels of the original image.
    width: [...], the width of the crop, pixels of the original image; at least 1 is
      used, so that the matrix can be inverted.
    angle: [...], see `crop_axes`.
    mirrored: [...], see `crop_axes`.
    size: (height, width) of the crop in its own pixels.
  """
  scale = np.maximum(width, 1.0) / size[1]
  linear = crop_axes(angle, mirrored) * scale[..., None, None]
  middle = np.array([size[1] - 1, size[0] - 1]) / 2
  shift = center - linear @ middle
  return np.concatenate([linear, shift[..., None]], axis=-1).astype(np.float32)


def cell_centers(num_cells: int, stride: float) -> np.ndarray:
  """Returns the pixel coordinate of each cell centre of a map, shape [cells].

  >>> cell_centers(3, 32).tolist()
  [15.5, 47.5, 79.5]
  """
  return np.arange(num_cells, dtype=np.float32) * stride + (stride - 1) / 2


def gaussian_exponents(
  points: Array, cells: tuple[int, int], stride: float, sigma: float
) -> Array:
  """Returns d^2 / (2 sigma^2) between points and the cells of a map.

  Args:
    points: [..., 2], (x, y) in pixels of the network's input.
    cells: Size (h, w) of the map.
    stride: Stride of the map, pixels per cell.
    sigma: Standard deviation, pixels.

  Returns:
    [..., h, w].
  """
  columns, rows = (
    (points[..., axis, None] - centers.reshape((1,) * (points.ndim - 1) + (-1,))) ** 2
    / (2 * sigma**2)
    for axis, centers in (
      (0, cell_centers(cells[1], stride)),
      (1, cell_centers(cells[0], stride)),
    )
  )
  return rows[..., :, None] + columns[..., None, :]


def pixels_to_grid(points: Array, stride: float) -> Array:
  """Converts pixels to fractional cell indices of a map with this stride."""
  return (points - (stride - 1) / 2) / stride


def grid_to_pixels(points: Array, stride: float) -> Array:
  """Converts fractional cell indices to pixels; inverse of `pixels_to_grid`."""
  return points * stride + (stride - 1) / 2


def apply_affine(matrix: Array, points: Array) -> Array:
  """Maps points by 2x3 matrices.

  Args:
    matrix: [..., 2, 3].
    points: [..., n, 2] with the same leading axes.

  Returns:
    [..., n, 2].
  """
  rotation = matrix[..., :, :2]
  moved = (rotation[..., None, :, :] * points[..., None, :]).sum(-1)
  return moved + matrix[..., None, :, 2]


def invert_affine(matrix: np.ndarray) -> np.ndarray:
  """Inverts 2x3 matrices, [..., 2, 3].

  Raises:
    np.linalg.LinAlgError: A matrix is singular.
  """
  linear = np.linalg.inv(matrix[..., :, :2])
  return np.concatenate([linear, -linear @ matrix[..., :, 2:]], axis=-1)


def affine_scale(matrix: Array) -> Array:
  """Returns the length scale of similarity matrices: sqrt(|det|), [...]."""
  a, b = matrix[..., 0, 0], matrix[..., 0, 1]
  c, d = matrix[..., 1, 0], matrix[..., 1, 1]
  return abs(a * d - b * c) ** 0.5


def reduction_level(to_original: Array, max_level: int = 3) -> Array:
  """Returns the number of times an image may be halved before it is resampled.

  A crop that shrinks the image by `s` is sampled from the image reduced by the
  largest power of two not above `s` (at most 2**max_level, what JPEG decoders
  offer), so that bilinear sampling never skips a pixel.

  Args:
    to_original: [..., 2, 3], network pixels to pixels of the original image.
    max_level: Largest level returned.

  Returns:
    int32 [...], 0..max_level.
  """
  xp = to_original.__array_namespace__()
  scale = xp.maximum(affine_scale(to_original), 1e-9)
  # The tolerance keeps an exact halving at level 1 in spite of rounding.
  level = xp.floor(xp.log2(scale) + 1e-6)
  return xp.clip(level, 0, max_level).astype(np.int32)


def to_level(matrix: Array, level: Array) -> Array:
  """Rewrites `to_original` matrices for an image reduced by 2**level.

  Pixel i of the reduced image covers the pixels i * t .. i * t + t - 1.

  Args:
    matrix: [..., 2, 3], network pixels to original pixels.
    level: int [...], the number of halvings.
  """
  stride = 2.0 ** level[..., None, None]
  linear = matrix[..., :, :2] / stride
  shift = (matrix[..., :, 2:] - (stride - 1) / 2) / stride
  return matrix.__array_namespace__().concat([linear, shift], axis=-1)
