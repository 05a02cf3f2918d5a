"""Dependency and affected areas: maps of the rows and columns of attention.

A[i, j] is the weight that token i (query) gives to token j (key); the rows sum to 1.
Tokens are the cells of the encoder's map, row by row. Source: supplement of TransPose
sections B and F, and the official visualiser.
"""

import jax
import numpy as np
from jaxtyping import Array, Float

from fskd_jax import geometry

THRESHOLD = 0.00075
"""Smallest weight that the supplement's figure 2 shows."""


def token_at(
  point: Float[np.ndarray, "2"], image_size: tuple[int, int], grid: tuple[int, int]
) -> int:
  """Returns the token whose cell holds a point; the nearest one for points outside.

  The cell of token c in a row spans the pixels [c * t - 0.5, (c + 1) * t - 0.5).

  Args:
    point: (x, y), pixels of the crop.
    image_size: (height, width) of the crop.
    grid: (h, w) of the tokens.
  """
  column, row = (
    geometry.pixels_to_grid(float(coordinate), length / cells)
    for coordinate, length, cells in zip(point, image_size[::-1], grid[::-1])
  )
  row, column = (
    min(max(int(np.floor(cell + 0.5)), 0), cells - 1)
    for cell, cells in zip((row, column), grid)
  )
  return row * grid[1] + column


def dependency_map(
  attention: Float[np.ndarray, "*a L L"], token: int, grid: tuple[int, int]
) -> Float[np.ndarray, "*a h w"]:
  """Returns the row of a token: the regions it reads from. The map sums to 1."""
  return attention[..., token, :].reshape(*attention.shape[:-2], *grid)


def affected_map(
  attention: Float[np.ndarray, "*a L L"], token: int, grid: tuple[int, int]
) -> Float[np.ndarray, "*a h w"]:
  """Returns the column of a token: the regions that read it, 1 / L on average."""
  return attention[..., :, token].reshape(*attention.shape[:-2], *grid)


def upsample(
  maps: Float[np.ndarray, "*a h w"], image_size: tuple[int, int]
) -> Float[np.ndarray, "*a H W"]:
  """Interpolates maps over the cells to the pixels of the crop, bilinearly."""
  shape = (*maps.shape[:-2], *image_size)
  return np.asarray(jax.image.resize(maps, shape, "linear"))


def relative_threshold(factor: float, grid: tuple[int, int]) -> float:
  """Returns `factor` times 1 / L, the weight of a token in uniform attention."""
  return factor / (grid[0] * grid[1])


def cosine_similarities(
  embedding: Float[Array | np.ndarray, "L d"],
) -> Float[np.ndarray, "L L"]:
  """Returns the cosines of the angles between all pairs of vectors."""
  vectors = np.asarray(embedding, np.float64)
  vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors @ vectors.T
