"""Pools support features at keypoints into one prototype per keypoint type."""

import functools
import math
import warnings

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fskd_jax import geometry

SMALLEST_SIGMA = math.sqrt(1.25 / (2 * geometry.GAUSSIAN_CUT))
"""The smallest sigma of pooling with a useful gradient, in cells: about 0.37.

A keypoint between two cells of a row is sqrt(1.25) cells from the next row. If that is
beyond the cut, the weights do not change as the keypoint moves across the row.
"""


def pooling_weights(
  keypoints: Float[Array, "... n 2"],
  num_cells: int,
  *,
  image_size: int,
  sigma: float,
  truncate_center: bool = False,
) -> Float[Array, "... n h w"]:
  """Weighs the cells of a map by a Gaussian around each keypoint.

  Args:
    keypoints: Keypoints, pixels of the network's input; clamped into the image.
    num_cells: Side of the map, h = w.
    image_size: Side of the network's input, pixels.
    sigma: Standard deviation as a fraction of the image side.
    truncate_center: Whether the centre loses its fraction, as in the original code.

  Returns:
    Weights that sum to 1. Beyond `geometry.GAUSSIAN_CUT` they are 0, but the nearest
    cell always counts. They are differentiable in the keypoints, up to the jumps where
    a cell passes the cut.

  Warns:
    UserWarning: the keypoints are differentiated, but the gradient is exactly 0 for
      some of them or for all: sigma is below `SMALLEST_SIGMA` cells, or the fraction
      of the centre is dropped. (Within half a cell of the image's border it may be 0
      for larger sigmas, too.)

  Source: docs/algorithm.md#pooling.
  """
  centers = jnp.clip(jnp.asarray(keypoints, jnp.float32), 0, image_size - 1)
  if truncate_center:
    centers = jnp.floor(_without_gradient(centers, "truncate_center drops fractions"))
  elif isinstance(sigma, float | int) and sigma * num_cells < SMALLEST_SIGMA:
    why = f"sigma is {sigma * num_cells:.2g} cells, below {SMALLEST_SIGMA:.2g}"
    centers = _without_gradient(centers, why)
  exponents = geometry.gaussian_exponents(
    centers, (num_cells, num_cells), image_size / num_cells, sigma * image_size
  )
  nearest = exponents.min((-2, -1), keepdims=True)
  # A tolerance, because fused code may round the minimum and its cell differently.
  kept = exponents <= jnp.maximum(1.00001 * nearest, geometry.GAUSSIAN_CUT)
  return jax.nn.softmax(-exponents, axis=(-2, -1), where=kept)


def pool_features(
  features: Float[Array, "b t h w c"],
  keypoints: Float[Array, "b t n 2"],
  *,
  image_size: int,
  sigma: float,
  truncate_center: bool = False,
) -> Float[Array, "b t n c"]:
  """Reads the features at keypoints, in float32.

  Args:
    features: Square feature maps of the images.
    keypoints: Keypoints, pixels of the network's input.
    image_size: Side of the network's input, pixels.
    sigma: Standard deviation, see `pooling_weights`.
    truncate_center: Form of the centre, see `pooling_weights`.

  Warns:
    UserWarning: The keypoints are differentiated, see `pooling_weights`.

  Source: docs/algorithm.md#pooling.
  """
  weights = pooling_weights(
    keypoints,
    features.shape[-2],
    image_size=image_size,
    sigma=sigma,
    truncate_center=truncate_center,
  )
  return jnp.einsum(
    "btnhw,bthwc->btnc",
    weights,
    features.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )


def masked_mean(
  pooled: Float[Array, "b k n c"], visible: Bool[Array, "b k n"]
) -> Float[Array, "b n c"]:
  """Averages over the images in which a keypoint is visible; 0 if there is none.

  Source: docs/algorithm.md#prototypes. The original averages the features at the image
  centre where nothing is visible; such types are masked everywhere after.
  """
  total = jnp.where(visible[..., None], pooled, 0.0).sum(1)
  count = visible.sum(1, dtype=jnp.float32)
  return total / jnp.maximum(count, 1.0)[..., None]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _without_gradient(keypoints: Array, why: str) -> Array:
  """Returns the keypoints, and warns at tracing if they are differentiated."""
  del why
  return keypoints


@_without_gradient.defjvp
def _warn(
  why: str, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
  warnings.warn(
    "the gradient of pooled features in the keypoints is exactly 0 for some or all "
    f"keypoints: {why}; raise model.pool_sigma, use a finer stride or larger images, "
    "and leave model.truncate_pooling_center off",
    stacklevel=2,
  )
  return primals[0], tangents[0]
