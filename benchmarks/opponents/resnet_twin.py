"""ResNet-18, 34 and 50 in PyTorch, by torchvision's names and without its build."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

KINDS = {
  "resnet18": ((2, 2, 2, 2), False),
  "resnet34": ((3, 4, 6, 3), False),
  "resnet50": ((3, 4, 6, 3), True),
}
"""Blocks per layer, and whether they are bottlenecks."""


class Block(nn.Module):
  """Residual block: 3x3 and 3x3, or 1x1, 3x3 and 1x1; the first 3x3 has the stride."""

  def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
    super().__init__()
    outputs = 4 * width if bottleneck else width
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    channels = inputs
    for number, kernel in enumerate(kernels, start=1):
      following = outputs if number == len(kernels) else width
      step = stride if number == kernels.index(3) + 1 else 1
      convolution = nn.Conv2d(
        channels, following, kernel, step, kernel // 2, bias=False
      )
      setattr(self, f"conv{number}", convolution)
      setattr(self, f"bn{number}", nn.BatchNorm2d(following))
      channels = following
    self.count = len(kernels)
    self.downsample = None
    if stride > 1 or inputs != outputs:
      self.downsample = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
      )

  def forward(self, x: Tensor) -> Tensor:
    """Applies the block."""
    y = x
    for number in range(1, self.count + 1):
      y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
      y = F.relu(y) if number < self.count else y
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
  """The network without its classifier; one map per stride 4, 8, 16 and 32."""

  def __init__(self, name: str):
    super().__init__()
    blocks, bottleneck = KINDS[name]
    self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    self.bn1 = nn.BatchNorm2d(64)
    channels = 64
    for number, count in enumerate(blocks, start=1):
      width, layer = 32 * 2**number, []
      for index in range(count):
        stride = 2 if index == 0 and number > 1 else 1
        layer.append(Block(channels, width, stride, bottleneck))
        channels = 4 * width if bottleneck else width
      setattr(self, f"layer{number}", nn.Sequential(*layer))

  def forward(self, x: Tensor) -> list[Tensor]:
    """Encodes normalised images [t 3 H W]."""
    x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
    maps = []
    for number in range(1, 5):
      x = cast(nn.Module, getattr(self, f"layer{number}"))(x)
      maps.append(x)
    return maps
