"""EfficientNet-Lite 0 to 4, the encoders of small devices, with ImageNet weights."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.layers import conv_and_norm


class Stage(NamedTuple):
  """Blocks of one size, before they are scaled.

  Attributes:
    repeats: Number of blocks.
    kernel: Side of the depthwise kernels.
    step: Stride of the first block.
    expansion: Factor on the channels within a block.
    channels: Channels of the stage's map.
    stride: Stride of the stage's map.
  """

  repeats: int
  kernel: int
  step: int
  expansion: int
  channels: int
  stride: int


STAGES = {
  "stage1": Stage(1, 3, 1, 1, 16, 2),
  "stage2": Stage(2, 3, 2, 6, 24, 4),
  "stage3": Stage(2, 5, 2, 6, 40, 8),
  "stage4": Stage(3, 3, 2, 6, 80, 16),
  "stage5": Stage(3, 5, 1, 6, 112, 16),
  "stage6": Stage(4, 5, 2, 6, 192, 32),
  "stage7": Stage(1, 3, 1, 6, 320, 32),
}

SCALES = {
  "efficientnet_lite0": (1.0, 1.0),
  "efficientnet_lite1": (1.0, 1.1),
  "efficientnet_lite2": (1.1, 1.2),
  "efficientnet_lite3": (1.2, 1.4),
  "efficientnet_lite4": (1.4, 1.8),
}
"""Factors on the channels and on the number of blocks, by the name of the encoder."""

STEM = 32
"""Channels of the first convolution, which is not scaled."""

EPSILON = 1e-3
"""Number added to variances."""


def channels(stage: Stage, width: float) -> int:
  """Returns the channels of a stage's map, a multiple of 8 after scaling."""
  scaled = stage.channels * width
  rounded = max(8, int(scaled + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * scaled else rounded


def repeats(depth: float) -> dict[str, int]:
  """Returns the number of blocks of every stage; the first and last do not grow."""
  first, *_, last = STAGES
  return {
    name: stage.repeats if name in (first, last) else math.ceil(depth * stage.repeats)
    for name, stage in STAGES.items()
  }


class InvertedResidual(nn.Module):
  """Residual block: more channels, a depthwise convolution, fewer channels."""

  features: int
  kernel: int
  step: int
  expansion: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(
    self, x: Float[Array, "t h w c"]
  ) -> tuple[Float[Array, "t h w d"], Float[Array, "t h w e"]]:
    """Returns the block's map, without activation, and its inner channels."""
    y, side, step = x, (self.kernel, self.kernel), (self.step, self.step)
    wide = x.shape[-1] * self.expansion
    if self.expansion > 1:
      y = self.conv(wide, (1, 1), name="expand_conv")(y)
      y = nn.relu6(self.norm(name="bn0")(y))
    depthwise = self.conv(
      wide, side, step, feature_group_count=wide, name="depthwise_conv"
    )
    inner = nn.relu6(self.norm(name="bn1")(depthwise(y)))
    y = self.conv(self.features, (1, 1), name="project_conv")(inner)
    y = self.norm(name="bn2")(y)
    return (x + y if self.step == 1 and x.shape == y.shape else y), inner


class EfficientNetLite(nn.Module):
  """Encoder with feature maps at strides 4, 8, 16 and 32.

  The maps are those of the last blocks at each stride, without activation: 24, 40, 112
  and 320 channels for Lite0. Padding is TensorFlow's, zeros where a window runs over.

  Attributes:
    strides: Strides of the feature maps to return; nothing deeper than the last is
      built.
    width: Factor on the channels.
    depth: Factor on the number of blocks.
    inner: Names of blocks, such as "stage3_1", whose inner channels to return, after
      their depthwise convolution and its activation.
    momentum: Decay of the running batch statistics.
    dtype: Type of the activations; parameters and batch norm are float32.
    axis_name: Device axis over which batch statistics are synchronised.

  Source: docs/pretrained.md#encoders. Drop-connect, which the original trains with, is
  left out.
  """

  strides: tuple[int, ...] = (8,)
  width: float = 1.0
  depth: float = 1.0
  inner: tuple[str, ...] = ()
  momentum: float = 0.9
  dtype: DTypeLike = "float32"
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
      One map per stride, then one per block of `inner`.

    Raises:
      ValueError: There is no such block up to the last stride.
    """
    conv, norm = conv_and_norm(
      nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      train=train,
      momentum=self.momentum,
      dtype=self.dtype,
      axis_name=self.axis_name,
      epsilon=EPSILON,
    )
    x = conv(STEM, (3, 3), (2, 2), name="conv_stem")(images)
    x = nn.relu6(norm(name="bn0")(x))
    maps: dict[int | str, Array] = {}
    numbers = repeats(self.depth)
    for name, stage in STAGES.items():
      if stage.stride > max(self.strides):
        break
      features = channels(stage, self.width)
      for number in range(numbers[name]):
        step = stage.step if number == 0 else 1
        block = InvertedResidual(
          *(features, stage.kernel, step, stage.expansion, conv, norm),
          name=f"{name}_{number}",
        )
        x, maps[f"{name}_{number}"] = block(x)
      maps[stage.stride] = x
    if missing := [name for name in self.inner if name not in maps]:
      blocks = ", ".join(name for name in maps if isinstance(name, str))
      raise ValueError(f"model.pyramid.inner: no block {missing[0]!r} among {blocks}")
    return tuple(maps[key] for key in (*self.strides, *self.inner))
