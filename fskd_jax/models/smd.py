"""Simultaneous modulation and detection: correlates query maps with kernels.

A kernel of side s is s * s vectors, so the correlation is one matrix product of the
map with all vectors, and a sum of its shifted parts. Source: spec/fskd.md 4.5.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.kernels import Kernels, materialize

MAX_PRODUCTS = 2**24
"""Products of one turn (64 MB, of which a few copies may live at once); beyond,
keypoint types are taken in turns."""

EPSILON = 1e-12
"""Shorter vectors count as zero (cosine)."""


def detect_keypoints(
  query: Float[Array, "b m h w c"],
  kernels: Kernels,
  *,
  similarity: str,
  plain_scale: float,
  dtype: DTypeLike = jnp.float32,
) -> Float[Array, "b m n h w"]:
  """Draws a heat-map of every keypoint type on every query image.

  Args:
    query: features.
    kernels: of one size s.
    similarity: "plain", the correlation over s^2 * plain_scale; or "cosine", every
      tap and every feature scaled to unit length, the correlation over s^2.
    plain_scale: see `similarity`.
    dtype: of the matrix products; they are summed up in float32.

  Returns:
    float32 maps.

  Raises:
    ValueError: `similarity` is unknown.
  """
  area = kernels.taps.shape[2] ** 2
  bias = 0.0 if kernels.bias is None else kernels.bias[:, None, :, None, None]
  if similarity == "plain":
    return _correlate_factors(query, kernels, dtype) / (area * plain_scale) + bias
  if similarity == "cosine":
    taps = materialize(kernels).taps
    return (correlate(_unit(query), _unit(taps), dtype=dtype) + bias) / area
  raise ValueError(f"similarity: got {similarity!r}, expected 'plain' or 'cosine'")


def correlate(
  query: Float[Array, "b m h w c"],
  kernels: Float[Array, "b n s s c"],
  *,
  dtype: DTypeLike = jnp.float32,
) -> Float[Array, "b m n h w"]:
  """Cross-correlates each map with each kernel of its episode, with zeros around.

  Memory is bounded: many keypoint types are taken in turns of as many as fit into
  `MAX_PRODUCTS`.
  """
  query = query.astype(dtype)

  def correlate_type(kernel: Float[Array, "b s s c"]) -> Float[Array, "b m h w"]:
    products = jnp.einsum(
      "bmhwc,bijc->bmhwij", query, kernel, preferred_element_type=jnp.float32
    )
    return _shift_and_add(products)

  per_type = math.prod(query.shape[:-1]) * kernels.shape[2] ** 2
  maps = jax.lax.map(
    correlate_type,
    jnp.moveaxis(kernels.astype(dtype), 1, 0),
    batch_size=max(1, MAX_PRODUCTS // per_type),
  )
  return jnp.moveaxis(maps, 0, 2)


def _shift_and_add(
  products: Float[Array, "b m h w s s"],
) -> Float[Array, "b m h w"]:
  """Sums over taps, each taken at the cell that lies under it."""
  h, w, size = products.shape[2:5]
  border = (size // 2, size // 2)
  padded = jnp.pad(products, ((0, 0), (0, 0), border, border, (0, 0), (0, 0)))
  taps = ((i, j) for i in range(size) for j in range(size))
  shifted = (padded[:, :, i : i + h, j : j + w, i, j] for i, j in taps)
  return functools.reduce(jnp.add, shifted)


def _correlate_factors(query: Array, kernels: Kernels, dtype: DTypeLike) -> Array:
  """Correlates with the kernels, or with their factors where that is less work."""
  taps = kernels.taps
  if kernels.layer is None:
    return correlate(query, taps, dtype=dtype)
  weight, offset = kernels.layer
  b, n, s, _, channels = taps.shape
  cells = math.prod(query.shape[1:-1])
  extra = offset.shape[1] * s * s
  if n * s * s * channels <= cells * (channels + extra):
    return correlate(query, materialize(kernels).taps, dtype=dtype)
  # <x, t W + o> = <x W', t> + <x, o>
  turned = jnp.einsum(
    "bmhwd,cd->bmhwc",
    query.astype(dtype),
    weight.astype(dtype),
    preferred_element_type=jnp.float32,
  )
  offset = jnp.broadcast_to(offset, (b, offset.shape[1], s, s, channels))
  return correlate(turned, taps, dtype=dtype) + correlate(query, offset, dtype=dtype)


def _unit(x: Array) -> Array:
  """Scales vectors to unit length in float32.

  A zero vector (the kernel of a type that no support shows) stays zero and has a
  harmless gradient.
  """
  x = x.astype(jnp.float32)
  squares = (x * x).sum(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.where(squares > EPSILON**2, squares, 1.0))
