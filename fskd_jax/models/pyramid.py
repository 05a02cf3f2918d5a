"""A light feature pyramid between a pretrained encoder and the head."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.config import PyramidConfig
from fskd_jax.models.layers import Conv
from fskd_jax.models.upsample import resize_bilinear


class PyramidEncoder(nn.Module):
  """Adds coarse maps to fine ones, and sets the encoder's own maps beside them.

  Every map of the pyramid has `config.width` channels. With `config.beside`, the
  vectors of all maps at a cell have unit length, so that each map has the same weight
  in a cosine between cells: cells that the frozen maps separate stay separate, whatever
  the pyramid learns. The mean over the image, which all cells share, is subtracted from
  the frozen maps. There is no batch norm, because its statistics would come from few
  images of one source at a time.

  Attributes:
    backbone: Encoder that returns one map for each of `inputs`.
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
    maps = dict(zip(self.inputs, self.backbone(images, train=train), strict=True))
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
      set_beside(features[stride], maps, self.config.beside) for stride in self.strides
    )

  def _conv(self, side: int, name: str) -> nn.Module:
    return Conv(self.config.width, (side, side), dtype=self.dtype, name=name)


def set_beside(
  learned: Float[Array, "t h w c"],
  maps: Mapping[int, Array],
  strides: tuple[int, ...],
) -> Float[Array, "t h w d"]:
  """Sets maps of the encoder before a learned one; see `PyramidEncoder`.

  Args:
    learned: Map of the pyramid.
    maps: Maps of the encoder by their strides.
    strides: Strides of those to take; none leaves the learned map as it is.
  """
  if not strides:
    return learned
  own = [
    unit_length(maps[stride] - maps[stride].mean((1, 2), keepdims=True))
    for stride in strides
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
