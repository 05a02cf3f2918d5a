"""Decodes heat-maps to keypoints: the highest cell, or a sub-cell peak (DARK)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax import geometry

BLUR_SIGMA = 2.0
"""Of the smoothing before DARK, cells; its kernel reaches `BLUR_REACH` cells."""

BLUR_REACH = 5


def decode(
  heatmaps: Float[Array, "... h w"], stride: float, kind: str
) -> Float[Array, "... 3"]:
  """Finds the keypoint of each heat-map.

  Args:
    heatmaps: a keypoint is where its map is highest.
    stride: of the maps, pixels per cell.
    kind: "argmax", the centre of the highest cell; or "dark".

  Returns:
    (x, y, score): pixels of the network's input, and the map's highest value. A map
    without a positive value has its keypoint in the first cell.

  Raises:
    ValueError: `kind` is unknown.

  Source: docs/transpose.md#decoding; the way from cells to pixels is `geometry`'s.
  """
  if kind not in ("argmax", "dark"):
    raise ValueError(f"pose.decoding must be 'argmax' or 'dark', got {kind!r}")
  heatmaps = heatmaps.astype(jnp.float32)
  height, width = heatmaps.shape[-2:]
  flat = heatmaps.reshape(*heatmaps.shape[:-2], height * width)
  score = flat.max(-1)
  index = jnp.where(score > 0, flat.argmax(-1), 0)
  cells = jnp.stack([index % width, index // width], axis=-1)
  if kind == "dark":
    offset = dark_offsets(heatmaps, cells)
  else:
    offset = jnp.zeros(cells.shape, jnp.float32)
  points = geometry.grid_to_pixels(cells + offset, jnp.float32(stride))
  return jnp.concatenate([points, score[..., None]], axis=-1)


def dark_offsets(
  heatmaps: Float[Array, "... h w"], cells: Float[Array, "... 2"]
) -> Float[Array, "... 2"]:
  """Returns how far the peak lies from the highest cell, by one Newton step.

  The map is smoothed, then taken for a Gaussian, whose logarithm is quadratic.

  Args:
    heatmaps: the maps.
    cells: int, (x, y) of the highest cell of each.

  Returns:
    In cells; 0 for cells less than two from the border.
  """
  height, width = heatmaps.shape[-2:]
  smooth = _blur(heatmaps)
  highest = smooth.max((-2, -1), keepdims=True)
  scale = heatmaps.max((-2, -1), keepdims=True) / jnp.where(highest > 0, highest, 1.0)
  logs = jnp.log(jnp.maximum(smooth * scale, 1e-10))
  logs = logs.reshape(*logs.shape[:-2], height * width)
  x, y = cells[..., 0], cells[..., 1]
  inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
  start = jnp.where(inside, y * width + x, 2 * width + 2)

  def at(dx: int, dy: int) -> Array:
    place = (start + dy * width + dx)[..., None]
    return jnp.take_along_axis(logs, place, axis=-1)[..., 0]

  slope_x, slope_y = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
  xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
  yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
  xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
  determinant = xx * yy - xy * xy
  usable = inside & (determinant != 0)
  divisor = jnp.where(usable, determinant, 1.0)
  steps = (xy * slope_y - yy * slope_x, xy * slope_x - xx * slope_y)
  return jnp.stack([jnp.where(usable, s / divisor, 0.0) for s in steps], axis=-1)


def _blur(heatmaps: Float[Array, "... h w"]) -> Float[Array, "... h w"]:
  """Smooths by a Gaussian, with zeros outside the map."""
  rows, columns = (_blur_matrix(size) for size in heatmaps.shape[-2:])
  exact = jax.lax.Precision.HIGHEST
  smooth = jnp.einsum("ij,...jk->...ik", rows, heatmaps, precision=exact)
  return jnp.einsum("...ij,kj->...ik", smooth, columns, precision=exact)


def _blur_matrix(size: int) -> Float[np.ndarray, "size size"]:
  kernel = np.exp(-(np.arange(-BLUR_REACH, BLUR_REACH + 1) ** 2) / (2 * BLUR_SIGMA**2))
  distance = np.arange(size)[:, None] - np.arange(size)
  inside = abs(distance) <= BLUR_REACH
  weights = kernel[np.clip(distance, -BLUR_REACH, BLUR_REACH) + BLUR_REACH]
  return np.where(inside, weights / kernel.sum(), 0).astype(np.float32)


def highest_cell(
  heatmaps: Float[Array, "... h w"], stride: float
) -> Float[Array, "... 2"]:
  """Returns the centre of the highest cell, in pixels of the network's input.

  Args:
    heatmaps: any float.
    stride: of the heat-maps, pixels per cell.

  Source: docs/algorithm.md#decoding, without its shift of half a pixel.
  """
  height, width = heatmaps.shape[-2:]
  index = heatmaps.reshape(*heatmaps.shape[:-2], height * width).argmax(-1)
  cells = jnp.stack([index % width, index // width], axis=-1).astype(jnp.float32)
  return geometry.grid_to_pixels(cells, jnp.float32(stride))
