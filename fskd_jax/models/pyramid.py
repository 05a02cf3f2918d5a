"""A light feature pyramid between a pretrained encoder and the head."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.config import PyramidConfig
from fskd_jax.models.layers import Conv
from fskd_jax.models.upsample import resize_bilinear


class PyramidEncoder(nn.Module):
  """Adds coarse maps to fine ones, and sets the encoder's own maps beside them.

  Every map of the pyramid has `config.width` channels. With `config.beside` or `inner`,
  the vectors of all maps at a cell have unit length, times `config.weights`, so that
  each map has a given weight in a cosine between cells: cells that the frozen maps
  separate stay separate, whatever the pyramid learns. The mean over the image, which
  all cells share, is subtracted from the frozen maps. There is no batch norm, because
  its statistics would come from few images of one source at a time.

  Attributes:
    backbone: Encoder that returns one map for each of `inputs`, then of `config.inner`.
    config: Sizes of the pyramid.
    inputs: Strides of the maps that the backbone returns.
    strides: Strides of the maps to return.
    dtype: Type of the activations; parameters are float32.

  Source: docs/pretrained.md#pyramid.
  """

  backbone: nn.Module
  config: PyramidConfig
  inputs: tuple[int, ...]
  strides: tuple[int, ...]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, images: Float[Array, "t l l 3"], *, train: bool
  ) -> tuple[Float[Array, "t h w c"], ...]:
    """Encodes normalised images.

    Args:
      images: Normalised images, see `encoder.normalize_for`.
      train: Whether batch norm uses the statistics of this batch and records them.

    Returns:
      One map per stride.
    """
    own = self.backbone(images, train=train)
    maps = dict(zip((*self.inputs, *self.config.inner), own, strict=True))
    frozen = [maps[key] for key in (*self.config.beside, *self.config.inner)]
    merged, features = None, {}
    for stride in sorted(self.config.inputs, reverse=True):  # from coarse to fine
      if stride < min(self.strides):
        break
      # Scaled to about 1, because the scale of an encoder's map is arbitrary.
      x = unit_length(maps[stride]) * maps[stride].shape[-1] ** 0.5
      x = self._conv(1, f"lateral_{stride}")(x)
      merged = x if merged is None else x + _like(merged, x)
      if stride in self.strides:
        features[stride] = self._conv(3, f"output_{stride}")(nn.relu(merged))
    return tuple(
      set_beside(features[stride], frozen, self.config.weights)
      for stride in self.strides
    )

  def _conv(self, side: int, name: str) -> nn.Module:
    return Conv(self.config.width, (side, side), dtype=self.dtype, name=name)


def set_beside(
  learned: Float[Array, "t h w c"],
  frozen: Sequence[Float[Array, "t _ _ _"]],
  weights: Sequence[float] = (),
) -> Float[Array, "t h w d"]:
  """Sets maps of the encoder before a learned one; see `PyramidEncoder`.

  Args:
    learned: Map of the pyramid.
    frozen: Maps of the encoder; none leaves the learned map as it is.
    weights: Length of the vectors of each of them, by default 1.
  """
  if not frozen:
    return learned
  own = [
    weight * unit_length(x - x.mean((1, 2), keepdims=True))
    for x, weight in zip(frozen, weights or [1.0] * len(frozen), strict=True)
  ]
  parts = [*(_like(x, learned) for x in own), unit_length(learned)]
  return jnp.concatenate(parts, axis=-1)


def unit_length(x: Float[Array, "*t c"]) -> Float[Array, "*t c"]:
  """Scales every vector to length 1; zero vectors stay zero."""
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  square = jnp.square(wide).sum(-1, keepdims=True)
  return (wide / jnp.sqrt(square + 1e-12)).astype(x.dtype)


def _like(x: Array, other: Array) -> Array:
  return resize_bilinear(x, other.shape[1], axes=(1, 2))
