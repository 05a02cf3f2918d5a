"""Positions of the cells of a grid: interpolated embeddings, rotated vectors."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PERIOD = 100.0
"""Ratio of the slowest wave of rotary positions to the fastest, nearly."""


def cubic_weights(old: int, new: int, antialias: bool) -> Float[np.ndarray, "i j"]:
  """Returns the matrix of PyTorch's bicubic interpolation along one axis.

  Args:
    old: Number j of given cells.
    new: Number i of wanted cells, over the same extent.
    antialias: Whether the filter is widened where there are fewer cells, and cut off
      at the border. Otherwise four cells count, and the border goes on beyond.
  """
  step = old / new
  centers = (np.arange(new) + 0.5) * step - 0.5
  if antialias:
    distances = np.abs(np.arange(old) - centers[:, None]) / max(step, 1.0)
    weights = _cubic(distances, -0.5)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
  weights = np.zeros((new, old))
  first = np.floor(centers).astype(int) - 1
  for cells in (first + i for i in range(4)):
    near = cells.clip(0, old - 1)
    np.add.at(weights, (np.arange(new), near), _cubic(np.abs(cells - centers), -0.75))
  return weights.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
  """Returns the cubic convolution kernel at distances from 0."""
  inner = ((a + 2) * x - (a + 3)) * x * x + 1
  outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


def rotary_angles(rows: int, columns: int, channels: int) -> Float[np.ndarray, "l c"]:
  """Returns the angles by which the vectors of a grid are turned, as in DINOv3.

  Args:
    rows: Rows of the grid.
    columns: Columns of the grid.
    channels: Number c of channels of a head, a multiple of 4.

  Returns:
    float32, cells in row-major order. A quarter of the channels by row, the next by
    column, from -1 at the first border to 1 at the last; then both again.
  """
  frequencies = 1 / PERIOD ** np.arange(0, 1, 4 / channels, dtype=np.float32)
  y, x = (2 * (np.arange(n, dtype=np.float32) + 0.5) / n - 1 for n in (rows, columns))
  places = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2, 1)
  angles = (2 * np.pi * places * frequencies).reshape(rows * columns, -1)
  return np.tile(angles, 2).astype(np.float32)


def rotate(
  x: Float[Array, "t l n c"], angles: Float[np.ndarray, "L c"]
) -> Float[Array, "t l n c"]:
  """Turns the vectors of the last L tokens; those before have no place.

  Args:
    x: Vectors of n heads.
    angles: Angles by token; channel i is turned with channel i + c / 2.
  """
  without = x.shape[1] - len(angles)
  cosine, sine = (
    np.concatenate([np.full((without, x.shape[-1]), fill), wave(angles)])
    .astype(np.float32)[None, :, None]
    .astype(x.dtype)
    for wave, fill in ((np.cos, 1.0), (np.sin, 0.0))
  )
  first, second = jnp.split(x, 2, axis=-1)
  return x * cosine + jnp.concatenate([-second, first], -1) * sine
