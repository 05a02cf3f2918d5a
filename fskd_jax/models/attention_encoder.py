"""Encoder of TransPose: a convolutional backbone and a transformer on its map."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.config import TransformerConfig
from fskd_jax.models.transformer import TransformerEncoder


class TransPoseEncoder(nn.Module):
  """Every cell of the backbone's map becomes a token that attends to all others.

  Attributes:
    backbone: Convolutional encoder that returns one map.
    config: Sizes of the transformer.
    grid: Height and width of the map for the images it is made for; other sizes
      work too, see `TransformerEncoder`.
    multiple: Number that must divide the sides of images.
    dtype: Type of the activations; parameters are float32.

  Source: docs/transpose.md#networks.
  """

  backbone: nn.Module
  config: TransformerConfig
  grid: tuple[int, int]
  multiple: int
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """Names the parts."""
    # PyTorch's default, small enough that the first attention is not one-hot.
    self.reduce = nn.Conv(
      self.config.width,
      (1, 1),
      use_bias=False,
      dtype=self.dtype,
      kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
    )
    self.transformer = TransformerEncoder(self.config, self.grid, self.dtype)

  def __call__(
    self, images: Float[Array, "t H W 3"], *, train: bool
  ) -> tuple[Float[Array, "t h w d"]]:
    """Encodes normalised images.

    Args:
      images: Normalised images, see `encoder.normalize_for`.
      train: Whether dropout is on and batch norm uses the statistics of this batch and
        records them.

    Returns:
      One map, like the backbone.

    Raises:
      ValueError: The sides of the images are no multiples of `multiple`.
    """
    height, width = images.shape[1:3]
    if height % self.multiple or width % self.multiple:
      raise ValueError(
        f"images: got {height} x {width} (height x width), "
        f"expected multiples of {self.multiple}"
      )
    (features,) = self.backbone(images, train=train)
    x = self.reduce(features)
    t, h, w, d = x.shape
    tokens = x.reshape(t, h * w, d)
    tokens = self.transformer(tokens, grid=(h, w), train=train)
    return (tokens.reshape(x.shape),)
