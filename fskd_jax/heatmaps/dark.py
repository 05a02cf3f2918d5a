"""Finds the peak of a heat-map between its cells (DARK)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

BLUR_SIGMA = 2.0
"""Standard deviation of the smoothing, in cells; the kernel ends after `BLUR_REACH`."""

BLUR_REACH = 5


def dark_offsets(
  heatmaps: Float[Array, "... h w"], cells: Int[Array, "... 2"]
) -> Float[Array, "... 2"]:
  """Returns the offset of the peak from the highest cell, by one Newton step.

  The smoothed map is treated as a Gaussian, whose logarithm is quadratic.

  Args:
    heatmaps: The maps.
    cells: (x, y) of the highest cell of each map.

  Returns:
    Offsets in cells; 0 for cells less than two from the border.
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
    index = (start + dy * width + dx)[..., None]
    return jnp.take_along_axis(logs, index, axis=-1)[..., 0]

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
