"""TransPose (R and H) in PyTorch, with the official keys of the state dict.

Our own writing from docs/transpose.md#algorithm: official weights load with
strict=True. Axes: t images, n keypoints, L tokens, d channels of a token, h w.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.opponents.torch_twin import Bottleneck

STAGES = {"layer1": (64, 4), "layer2": (128, 8), "layer3": (256, 16)}
"""Of ResNet: width of the bottleneck, stride of the map."""
BRANCH_BLOCKS, STAGE3_MODULES = 4, 4


class TransPose(nn.Module):
  """Draws heat-maps of fixed keypoints at stride 4."""

  def __init__(
    self, config: Mapping[str, Any], image_size: Sequence[int], num_keypoints: int
  ):
    """Builds the network.

    Args:
      config: a `ModelConfig` of `fskd_jax` as a dictionary.
      image_size: height and width of the input, pixels.
      num_keypoints: heat-maps.
    """
    super().__init__()
    backbone, channels = _BACKBONES[config["encoder"]](config)
    self.backbone = list(backbone)  # names in the order of work
    for name, module in backbone.items():
      self.add_module(name, module)
    encoder, stride = config["transformer"], config["strides"][0]
    width = encoder["width"]
    self.reduce = nn.Conv2d(channels, width, 1, bias=False)
    self.pos_embedding = _position(encoder, *(side // stride for side in image_size))
    self.global_encoder = Encoder(encoder)
    layers: list[nn.Module] = []
    for _ in range(int(math.log2(stride // 4))):
      layers.append(nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False))
      layers += [nn.BatchNorm2d(width), nn.ReLU()]
    self.deconv_layers = nn.Sequential(*layers)
    self.final_layer = nn.Conv2d(width, num_keypoints, 1)

  def forward(self, images: Tensor) -> Tensor:
    """Draws [t n h w] of normalised images [t 3 H W]."""
    return self._run(images, need_weights=False)[0]

  def attention_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the heat-maps, and the attention [layers t heads L L]."""
    heatmaps, weights = self._run(images, need_weights=True)
    return heatmaps, torch.stack(weights)

  def _run(self, images: Tensor, need_weights: bool) -> tuple[Tensor, list[Any]]:
    x: Any = images
    for name in self.backbone:
      x = getattr(self, name)(x)
    x = self.reduce(x)
    tokens = x.flatten(2).transpose(1, 2)
    position = self.pos_embedding.transpose(0, 1)
    tokens, weights = self.global_encoder(tokens, position, need_weights)
    x = tokens.transpose(1, 2).unflatten(2, x.shape[2:])
    return self.final_layer(self.deconv_layers(x)), weights


class Encoder(nn.Module):
  """Layers of attention over all tokens."""

  def __init__(self, config: Mapping[str, Any]):
    super().__init__()
    self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config["layers"]))
    for parameter in self.parameters():
      if parameter.ndim > 1:
        nn.init.xavier_uniform_(parameter)

  def forward(
    self, tokens: Tensor, position: Tensor, need_weights: bool
  ) -> tuple[Tensor, list[Tensor | None]]:
    """Returns tokens [t L d], and per layer the weights [t heads L L] or None."""
    weights = []
    for layer in self.layers:
      tokens, attention = layer(tokens, position, need_weights)
      weights.append(attention)
    return tokens, weights


class EncoderLayer(nn.Module):
  """Attention and a feed-forward network, each added and then normalised.

  The position is added to queries and keys, not to values. Unless the weights are
  asked for, the attention runs in PyTorch's fused kernels.
  """

  def __init__(self, config: Mapping[str, Any]):
    super().__init__()
    width, hidden, dropout = config["width"], config["hidden"], config["dropout"]
    self.self_attn = nn.MultiheadAttention(
      width, config["heads"], dropout, batch_first=True
    )
    self.linear1 = nn.Linear(width, hidden)
    self.linear2 = nn.Linear(hidden, width)
    self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
    self.dropout = nn.Dropout(dropout)

  def forward(
    self, tokens: Tensor, position: Tensor, need_weights: bool
  ) -> tuple[Tensor, Tensor | None]:
    """Returns tokens [t L d], and the weights [t heads L L] or None."""
    keys = tokens + position
    attended, weights = self.self_attn(
      keys, keys, tokens, need_weights=need_weights, average_attn_weights=False
    )
    tokens = self.norm1(tokens + self.dropout(attended))
    hidden = self.dropout(F.relu(self.linear1(tokens)))
    return self.norm2(tokens + self.dropout(self.linear2(hidden))), weights


class BasicBlock(nn.Module):
  """Residual block of two 3x3 convolutions."""

  def __init__(self, channels: int):
    super().__init__()
    self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(channels)
    self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(channels)

  def forward(self, x: Tensor) -> Tensor:
    """Applies the block."""
    y = F.relu(self.bn1(self.conv1(x)))
    return F.relu(self.bn2(self.conv2(y)) + x)


class Branching(nn.ModuleList):
  """Starts another branch at half the resolution of the last one."""

  def forward(self, branches: list[Tensor] | Tensor) -> list[Tensor]:
    """Adds a map."""
    branches = [branches] if isinstance(branches, Tensor) else branches
    kept = [layer(x) for layer, x in zip(self, branches)]
    return [*kept, self[-1](branches[-1])]


class Exchange(nn.Module):
  """Blocks on every branch, then every branch gets the sum of all."""

  def __init__(self, channels: Sequence[int], outputs: int):
    super().__init__()
    self.branches = nn.ModuleList(
      nn.Sequential(*(BasicBlock(width) for _ in range(BRANCH_BLOCKS)))
      for width in channels
    )
    self.fuse_layers = nn.ModuleList(
      nn.ModuleList(_fuse(channels, i, j) for j in range(len(channels)))
      for i in range(outputs)
    )

  def forward(self, branches: list[Tensor]) -> list[Tensor]:
    """Returns as many maps as there are outputs."""
    branches = [blocks(x) for blocks, x in zip(self.branches, branches)]
    rows = (row.children() for row in self.fuse_layers)
    return [
      F.relu(functools.reduce(torch.add, (f(x) for f, x in zip(row, branches))))
      for row in rows
    ]


class First(nn.Module):
  """Takes the first of several maps."""

  def forward(self, branches: list[Tensor]) -> Tensor:
    """Returns it."""
    return branches[0]


def _resnet(config: Mapping[str, Any]) -> tuple[dict[str, nn.Module], int]:
  """Makes the modules in the order of work, and the channels that come out."""
  modules: dict[str, nn.Module] = {
    "conv1": nn.Conv2d(3, 64, 7, 2, 3, bias=False),
    "bn1": nn.BatchNorm2d(64),
    "relu": nn.ReLU(),
    "maxpool": nn.MaxPool2d(3, 2, 1),
  }
  channels = 64
  for (name, (width, stride)), count in zip(STAGES.items(), config["resnet_blocks"]):
    if stride > config["strides"][0]:
      break
    step = 1 if name == "layer1" else 2
    first = Bottleneck(channels, width, step)
    channels = 4 * width
    others = (Bottleneck(channels, width, 1) for _ in range(count - 1))
    modules[name] = nn.Sequential(first, *others)
  return modules, channels


def _hrnet(config: Mapping[str, Any]) -> tuple[dict[str, nn.Module], int]:
  """Makes the modules in the order of work, and the channels that come out."""
  fine, middle, coarse = (config["hrnet_width"] * 2**i for i in range(3))
  three = (fine, middle, coarse)
  modules = {
    "conv1": nn.Conv2d(3, 64, 3, 2, 1, bias=False),
    "bn1": nn.BatchNorm2d(64),
    "relu1": nn.ReLU(),
    "conv2": nn.Conv2d(64, 64, 3, 2, 1, bias=False),
    "bn2": nn.BatchNorm2d(64),
    "relu2": nn.ReLU(),
    "layer1": nn.Sequential(
      *(Bottleneck(256 if i else 64, 64, 1) for i in range(4)),
    ),
    "transition1": Branching(
      [_convolution(256, fine, 1), nn.Sequential(_convolution(256, middle, 2))]
    ),
    "stage2": nn.Sequential(Exchange((fine, middle), outputs=2)),
    "transition2": Branching(
      [nn.Identity(), nn.Identity(), nn.Sequential(_convolution(middle, coarse, 2))]
    ),
    "stage3": nn.Sequential(
      *(Exchange(three, outputs=3) for _ in range(STAGE3_MODULES - 1)),
      Exchange(three, outputs=1),
    ),
    "first": First(),
  }
  return modules, fine


_BACKBONES = {"resnet50": _resnet, "hrnet": _hrnet}


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
  convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
  return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _fuse(channels: Sequence[int], i: int, j: int) -> nn.Module:
  """Brings branch j to the resolution and the channels of branch i."""
  if j == i:
    return nn.Identity()
  if j > i:
    return nn.Sequential(
      nn.Conv2d(channels[j], channels[i], 1, bias=False),
      nn.BatchNorm2d(channels[i]),
      nn.Upsample(scale_factor=2 ** (j - i), mode="nearest"),
    )
  steps = [_convolution(channels[j], channels[j], 2) for _ in range(i - j - 1)]
  last = _convolution(channels[j], channels[i], 2)[:2]  # no ReLU before the sum
  return nn.Sequential(*steps, last)


def _position(config: Mapping[str, Any], height: int, width: int) -> nn.Parameter:
  """Makes the embedding [L 1 d], y in the first half of the channels."""
  channels = config["width"]
  if config["position"] == "learnable":
    return nn.Parameter(torch.randn(height * width, 1, channels))
  half = channels // 2
  frequency = 10_000 ** (-2 * (torch.arange(half) // 2) / half)

  def encode(length: int) -> Tensor:
    angle = torch.arange(1, length + 1) / (length + 1e-6) * 2 * math.pi
    angle = angle[:, None] * frequency
    return torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos())

  rows = encode(height)[:, None].expand(height, width, half)
  columns = encode(width)[None].expand(height, width, half)
  embedding = torch.cat([rows, columns], 2).reshape(-1, 1, channels)
  return nn.Parameter(embedding, requires_grad=False)
