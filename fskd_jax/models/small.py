"""A half-million-parameter encoder that learns from scratch in minutes on a CPU."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.layers import conv_and_norm


class BasicBlock(nn.Module):
  """Residual block of two 3x3 convolutions that halves the resolution."""

  width: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h/2 w/2 c"]:
    """Applies the block."""
    y = self.conv(self.width, (3, 3), (2, 2), name="conv1")(x)
    y = nn.relu(self.norm(name="bn1")(y))
    y = self.conv(self.width, (3, 3), name="conv2")(y)
    y = self.norm(scale_init=nn.initializers.constant(0.5), name="bn2")(y)
    x = self.conv(self.width, (1, 1), name="shortcut")(
      nn.avg_pool(x, (2, 2), strides=(2, 2))
    )
    return nn.relu(x + y)


class SmallEncoder(nn.Module):
  """Stem (stride 2) and blocks (4, 8, 16 ..), coarse features added to fine ones.

  Every map has widths[2] channels and no final ReLU, so that the cosine between
  features uses both signs.

  Attributes:
    strides: Strides of the feature maps to return, 8 or coarser.
    widths: Channels at strides 2, 4, 8, 16 and, if there is a fifth, 32.
    momentum: Decay of the running batch statistics.
    dtype: Type of the activations; parameters and batch norm are float32.
    axis_name: Device axis over which batch statistics are synchronised.
  """

  strides: tuple[int, ...] = (8,)
  widths: tuple[int, ...] = (24, 48, 96, 128)
  momentum: float = 0.9
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

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
    conv, norm = conv_and_norm(
      nn.initializers.he_normal(),
      train=train,
      momentum=self.momentum,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )
    stem, *widths = self.widths
    x = conv(stem, (3, 3), (2, 2), name="conv1")(images)
    x = nn.relu(norm(name="bn1")(x))
    maps = {}
    for number, width in enumerate(widths, 1):
      x = BasicBlock(width, conv, norm, name=f"layer{number}")(x)
      maps[2 ** (number + 1)] = x

    channels, merged, features = widths[1], None, {}
    for stride in sorted(maps, reverse=True)[:-1]:  # from coarse to fine
      lateral = conv(channels, (1, 1), name=f"lateral_{stride}")(maps[stride])
      merged = lateral if merged is None else lateral + double(merged)
      if stride in self.strides:
        y = conv(channels, (3, 3), name=f"output_conv_{stride}")(merged)
        features[stride] = norm(name=f"output_bn_{stride}")(y)
    return tuple(features[stride] for stride in self.strides)


def double(x: Float[Array, "t h w c"]) -> Float[Array, "t 2*h 2*w c"]:
  """Repeats every cell of a map twice along both sides."""
  return x.repeat(2, 1).repeat(2, 2)
