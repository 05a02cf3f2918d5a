"""ResNet-18, 34 and 50, structured as in torchvision."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.layers import conv_and_norm

STAGES = {
  "layer1": (64, 4),
  "layer2": (128, 8),
  "layer3": (256, 16),
  "layer4": (512, 32),
}
"""Width of the 3x3 convolutions and stride of the feature map of each stage."""

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Numbers of blocks of the networks without bottlenecks, per stage."""


class BasicBlock(nn.Module):
  """Residual block of two 3x3 convolutions; the first carries the stride."""

  width: int
  stride: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h w c"]:
    """Applies the block; the output has `width` channels."""
    stride = (self.stride, self.stride)
    y = self.conv(self.width, (3, 3), stride, padding=1, name="conv1")(x)
    y = nn.relu(self.norm(name="bn1")(y))
    y = self.conv(self.width, (3, 3), padding=1, name="conv2")(y)
    y = self.norm(name="bn2")(y)
    if x.shape != y.shape:
      x = self.conv(self.width, (1, 1), stride, name="downsample_conv")(x)
      x = self.norm(name="downsample_bn")(x)
    return nn.relu(x + y)


class Bottleneck(nn.Module):
  """Residual block 1x1, 3x3, 1x1; the 3x3 carries the stride."""

  width: int
  stride: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h w c"]:
    """Applies the block; the output has 4 * width channels."""
    stride = (self.stride, self.stride)
    y = self.conv(self.width, (1, 1), name="conv1")(x)
    y = nn.relu(self.norm(name="bn1")(y))
    y = self.conv(self.width, (3, 3), stride, padding=1, name="conv2")(y)
    y = nn.relu(self.norm(name="bn2")(y))
    y = self.conv(4 * self.width, (1, 1), name="conv3")(y)
    y = self.norm(name="bn3")(y)
    if x.shape[-1] != y.shape[-1]:
      x = self.conv(4 * self.width, (1, 1), stride, name="downsample_conv")(x)
      x = self.norm(name="downsample_bn")(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Encoder with feature maps at strides 4, 8, 16 and 32, by default of ResNet-50.

  They have 256, 512, 1024 and 2048 channels, a quarter of that without bottlenecks.

  Attributes:
    strides: Strides of the feature maps to return; nothing deeper than the last is
      built. (8,) is ResNet-S of TransPose.
    blocks: Number of blocks in each stage; (3, 4, 23, 3) is ResNet-101. By default the
      third block of torchvision's layer4 is cut off.
    block: Kind of the blocks: `Bottleneck`, or the `BasicBlock` of ResNet-18 and 34.
    momentum: Decay of the running batch statistics.
    dtype: Type of the activations; parameters and batch norm are float32.
    axis_name: Device axis over which batch statistics are synchronised.

  Source: docs/algorithm.md#encoder. Running variances are the biased ones.
  """

  strides: tuple[int, ...] = (32,)
  blocks: tuple[int, ...] = (3, 4, 6, 2)
  block: type[Bottleneck] | type[BasicBlock] = Bottleneck
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
      nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      train=train,
      momentum=self.momentum,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )
    x = conv(64, (7, 7), (2, 2), padding=3, name="conv1")(images)
    x = max_pool(nn.relu(norm(name="bn1")(x)))
    features = {}
    for (stage, (width, stride)), num_blocks in zip(STAGES.items(), self.blocks):
      if stride > max(self.strides):
        break
      for block in range(num_blocks):
        step = 2 if block == 0 and stage != "layer1" else 1
        x = self.block(width, step, conv, norm, name=f"{stage}_{block}")(x)
      features[stride] = x
    return tuple(features[stride] for stride in self.strides)


def max_pool(x: Float[Array, "t h w c"]) -> Float[Array, "t h w c"]:
  """Takes the maximum over 3x3 windows with stride 2 and padding 1.

  Equals `nn.max_pool` bit for bit. Written as maxima of shifted slices because
  XLA's gradient of a pooling window is several times slower on CPUs; where maxima
  tie, the gradient is shared instead of going to the first.
  """
  for axis in (1, 2):
    size = (x.shape[axis] + 1) // 2
    border = [(0, 0)] * x.ndim
    border[axis] = (1, 1)
    padded = jnp.pad(x, border, constant_values=-jnp.inf)
    before, center, after = (
      jax.lax.slice_in_dim(padded, i, i + 2 * size - 1, 2, axis) for i in range(3)
    )
    x = jnp.maximum(jnp.maximum(before, center), after)
  return x
