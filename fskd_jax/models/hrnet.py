"""HRNet-S of TransPose: the first three stages of HRNet, one map at stride 4."""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.layers import conv_and_norm
from fskd_jax.models.resnet import Bottleneck

STAGES = {"stage2": (2, 1), "stage3": (3, 4)}
"""Numbers of branches and of modules of each stage."""

NUM_BLOCKS = 4
"""Number of blocks of layer1 and of every branch of a module."""


class ConvNorm(nn.Module):
  """3x3 or 1x1 convolution and batch norm.

  Attributes:
    width: Number of output channels.
    conv: Maker of the convolution.
    norm: Maker of the batch norm.
    size: Side of the kernel.
    stride: Stride of the convolution.
  """

  width: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  size: int = 3
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h w c"]:
    """Applies both, with the same padding of zeros on all sides."""
    size, stride = (self.size,) * 2, (self.stride,) * 2
    x = self.conv(self.width, size, stride, padding=self.size // 2, name="conv")(x)
    return self.norm(name="bn")(x)


class BasicBlock(nn.Module):
  """Residual block of two 3x3 convolutions; keeps size and channels."""

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h w c"]:
    """Applies the block."""
    width = x.shape[-1]
    y = self.conv(width, (3, 3), padding=1, name="conv1")(x)
    y = nn.relu(self.norm(name="bn1")(y))
    y = self.conv(width, (3, 3), padding=1, name="conv2")(y)
    return nn.relu(x + self.norm(name="bn2")(y))


class HighResolutionModule(nn.Module):
  """Residual blocks on every branch, then every output is a sum over the branches.

  Attributes:
    num_outputs: Number of branches to return, the finest ones.
    conv: Maker of a convolution.
    norm: Maker of a batch norm.
  """

  num_outputs: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, branches: Sequence[Array]) -> list[Array]:
    """Applies the module.

    Args:
      branches: [t h w c], [t h/2 w/2 2c], [t h/4 w/4 4c] ..
    """
    maps = list(branches)
    for i in range(len(maps)):
      for block in range(NUM_BLOCKS):
        name = f"branch{i}_{block}"
        maps[i] = BasicBlock(self.conv, self.norm, name=name)(maps[i])
    outputs = []
    for i in range(self.num_outputs):
      parts = [self._fuse(x, i, j, maps) for j, x in enumerate(maps)]
      outputs.append(nn.relu(functools.reduce(jnp.add, parts)))
    return outputs

  def _fuse(self, x: Array, i: int, j: int, maps: Sequence[Array]) -> Array:
    """Resizes branch j to the size and channels of branch i."""
    layer = functools.partial(ConvNorm, conv=self.conv, norm=self.norm)
    width = maps[i].shape[-1]
    if j > i:
      x = layer(width, size=1, name=f"fuse{i}_{j}")(x)
      return x.repeat(2 ** (j - i), 1).repeat(2 ** (j - i), 2)
    for step in range(i - j):
      x = nn.relu(x) if step else x
      channels = width if step == i - j - 1 else x.shape[-1]
      x = layer(channels, stride=2, name=f"fuse{i}_{j}_{step}")(x)
    return x


class HRNetS(nn.Module):
  """Encoder that keeps a fine map beside coarser ones; `width` channels at stride 4.

  Attributes:
    width: Channels of the finest branch, 32 or 48 in the paper.
    momentum: Decay of the running batch statistics.
    dtype: Type of the activations; parameters and batch norm are float32.
    axis_name: Device axis over which batch statistics are synchronised.

  Source: docs/transpose.md#hrnet-s. Running variances are the biased ones.
  """

  width: int = 32
  momentum: float = 0.9
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self, images: Float[Array, "t H W 3"], *, train: bool
  ) -> tuple[Float[Array, "t h w c"]]:
    """Encodes normalised images.

    Args:
      images: Normalised images, see `encoder.normalize_for`; sides are multiples of 16.
      train: Whether batch norm uses the statistics of this batch and records them.
    """
    conv, norm = conv_and_norm(
      nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      train=train,
      momentum=self.momentum,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )
    layer = functools.partial(ConvNorm, conv=conv, norm=norm)
    x = conv(64, (3, 3), (2, 2), padding=1, name="conv1")(images)
    x = nn.relu(norm(name="bn1")(x))
    x = conv(64, (3, 3), (2, 2), padding=1, name="conv2")(x)
    x = nn.relu(norm(name="bn2")(x))
    for block in range(NUM_BLOCKS):
      x = Bottleneck(64, 1, conv, norm, name=f"layer1_{block}")(x)
    maps = [
      nn.relu(layer(self.width, name="transition1_0")(x)),
      nn.relu(layer(2 * self.width, stride=2, name="transition1_1")(x)),
    ]
    for stage, (num_branches, num_modules) in STAGES.items():
      if len(maps) < num_branches:
        coarser = layer(4 * self.width, stride=2, name="transition2_2")(maps[-1])
        maps.append(nn.relu(coarser))
      for number in range(num_modules):
        is_last = stage == "stage3" and number == num_modules - 1
        num_outputs = 1 if is_last else num_branches
        module = HighResolutionModule(num_outputs, conv, norm, name=f"{stage}_{number}")
        maps = module(maps)
    return (maps[0],)
