"""Simultaneous modulation and detection: correlates query maps with kernels.

A kernel of side s is s * s vectors, so the correlation is one matrix product of the
map with all vectors, and a sum of its shifted parts. Source: docs/algorithm.md#smd.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.kernels import Kernels, materialize

EPSILON = 1e-12
"""Length below which a vector counts as zero in a cosine."""


def detect_keypoints(
  query: Float[Array, "*b m h w c"],
  kernels: Kernels | Float[Array, "*b n s s c"],
  *,
  similarity: str = "plain",
  plain_scale: float = 1.0,
  dtype: DTypeLike = jnp.float32,
) -> Float[Array, "*b m n h w"]:
  """Computes a heat-map of every keypoint type on every query image.

  Args:
    query: Feature maps of the query images. The axis of the episodes, b, may be absent
      if the kernels are an array without it.
    kernels: Kernels of one size s: the vectors of every type, as an array, or `Kernels`
      as the generator returns them.
    similarity: "plain", the correlation over s^2 * plain_scale; or "cosine", every
      tap and every feature scaled to unit length, the correlation over s^2.
    plain_scale: Divisor of the plain correlation.
    dtype: Type of the matrix products, which are summed in float32.

  Returns:
    float32 heat-maps of the size of the feature maps.

  Raises:
    ValueError: `similarity` is unknown.
  """
  if not isinstance(kernels, Kernels):
    kernels = Kernels(jnp.asarray(kernels))
    if kernels.taps.ndim == 4:
      return detect_keypoints(
        query[None],
        kernels.taps[None],
        similarity=similarity,
        plain_scale=plain_scale,
        dtype=dtype,
      )[0]
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
  """Cross-correlates each map with each kernel of its episode, with zeros around."""
  b, *cells, channels = query.shape
  # As rows, because XLA copies transposed kernels for a product over several axes.
  products = jnp.einsum(
    "bpc,btc->bpt",
    query.astype(dtype).reshape(b, -1, channels),
    kernels.astype(dtype).reshape(b, -1, channels),
    preferred_element_type=jnp.float32,
  )
  products = products.reshape(b, *cells, *kernels.shape[1:-1])
  return jnp.moveaxis(_shift_and_add(products), -1, 2)


def _shift_and_add(
  products: Float[Array, "b m h w n s s"],
) -> Float[Array, "b m h w n"]:
  """Sums over taps, each taken at the cell that lies under it."""
  *shape, size, _ = products.shape
  # Split, because the gradient of that is one concatenation. The gradient of an
  # indexed tap would be an array as large as `products`, and there are size^2 taps.
  taps = jax.lax.split(products.reshape(*shape, size**2), (1,) * size**2, len(shape))
  shifted = []
  for tap, (i, j) in zip(taps, np.ndindex(size, size)):
    # Shifted against the tap's place in the kernel, with zeros from the border.
    rows, columns = i - size // 2, j - size // 2
    moves = ((0, 0), (0, 0), (-rows, rows), (-columns, columns), (0, 0))
    config = [(low, high, 0) for low, high in moves]
    shifted.append(jax.lax.pad(tap[..., 0], jnp.float32(0), config))
  return functools.reduce(jnp.add, shifted)


def _correlate_factors(query: Array, kernels: Kernels, dtype: DTypeLike) -> Array:
  """Correlates with the kernels, or with their factors if that is less work."""
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
