"""A pyramid on the one map of a vision transformer."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.config import PyramidConfig
from fskd_jax.models.convolution import convolve
from fskd_jax.models.pyramid import set_beside


class SimplePyramidEncoder(nn.Module):
  """Makes maps of all strides of one map, each on its own.

  Finer maps are made by transposed convolutions, coarser ones by maxima. On each come
  a 1x1 and a 3x3 convolution to `config.width` channels, both with layer norm.

  Attributes:
    backbone: Encoder that returns one map.
    config: Sizes of the pyramid.
    stride: Stride of the backbone's map.
    strides: Strides of the maps to return: `stride` times 1/4, 1/2, 1 or 2.
    dtype: Type of the activations; parameters are float32.

  Source: Li et al., Exploring Plain Vision Transformer Backbones for Object Detection,
  ECCV 2022, section 3.
  """

  backbone: nn.Module
  config: PyramidConfig
  stride: int
  strides: tuple[int, ...]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, images: Float[Array, "t H W 3"], *, train: bool
  ) -> tuple[Float[Array, "t h w c"], ...]:
    """Encodes normalised images.

    Args:
      images: Normalised images, see `encoder.normalize_for`.
      train: Whether batch norm uses the statistics of this batch and records them.

    Returns:
      One map per stride.
    """
    (own,) = self.backbone(images, train=train)
    maps = []
    for stride in self.strides:
      x = self._made(own, stride)
      for kind, side in (("lateral", 1), ("output", 3)):
        x = nn.Conv(
          self.config.width,
          (side, side),
          use_bias=False,
          dtype=self.dtype,
          conv_general_dilated=convolve,
          name=f"{kind}_{stride}",
        )(x)
        x = nn.LayerNorm(1e-6, dtype=self.dtype, name=f"{kind}_norm_{stride}")(x)
      maps.append(set_beside(x, [own] * len(self.config.beside), self.config.weights))
    return tuple(maps)

  def _made(self, x: Array, stride: int) -> Array:
    """Brings the backbone's map to a stride."""
    if stride > self.stride:
      return nn.max_pool(x, (2, 2), (2, 2))
    steps = (self.stride // stride).bit_length() - 1
    for number in range(steps):
      if number:
        x = nn.LayerNorm(1e-6, dtype=self.dtype, name=f"up_norm_{stride}")(x)
        x = nn.gelu(x, approximate=False)
      x = self._doubled(x, f"up{number}_{stride}")
    return x

  def _doubled(self, x: Array, name: str) -> Array:
    """Doubles rows and columns by a 2x2 transposed convolution, as a product."""
    t, h, w, c = x.shape
    cells = nn.Dense(4 * (c // 2), dtype=self.dtype, name=name)(x)
    cells = cells.reshape(t, h, w, 2, 2, c // 2).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(t, 2 * h, 2 * w, c // 2)
