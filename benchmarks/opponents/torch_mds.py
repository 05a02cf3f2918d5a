"""The modulate-then-detect baseline (MDS) in PyTorch, vectorised.

The twin of `fskd_jax` with model.head = "mds": what `fskd export` writes loads with
strict=True. Every keypoint type of every query image becomes a map of its own in one
batch, as published; so memory grows with their number. Axes as in `torch_twin`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.opponents import torch_twin
from benchmarks.opponents.torch_twin import CHANNELS


class Modulator(nn.Module):
  """Multiplies maps by prototypes, describes every product and locates in it."""

  def __init__(self, channels: int, side: int, widths: Sequence[int]):
    """Builds the network for maps of this many channels and this side."""
    super().__init__()
    self.cells = side * side
    self.convolutions = [f"conv{i}" for i in range(1, len(widths) + 1)]
    for name, inputs, outputs in zip(
      self.convolutions, (channels, *widths[:-1]), widths
    ):
      self.add_module(name, nn.Conv2d(inputs, outputs, 3, 2, 1))
      side = (side + 1) // 2
    self.head = nn.Linear(widths[-1] * side * side, self.cells)

  def forward(self, query: Tensor, prototypes: Tensor) -> Tensor:
    """From [b m c h w] and [b n c]: [b m n h w]."""
    products = query[:, :, None] * prototypes[:, None, :, :, None, None]
    x = products.flatten(0, 2)
    for name in self.convolutions:
      x = F.relu(getattr(self, name)(x))
    # The exported head reads its inputs in Flax's order: h w c.
    x = self.head(x.permute(0, 2, 3, 1).flatten(1))
    return x.reshape(*products.shape[:3], *query.shape[-2:])


class MdsDetector(nn.Module):
  """Finds in query images the keypoints that are annotated in support images."""

  def __init__(self, config: Mapping[str, Any], image_size: int):
    """Builds the network.

    Args:
      config: the section "model" of the configuration that an export carries.
      image_size: side of the input, pixels.
    """
    super().__init__()
    built = config["encoder"], config["head"]
    if built != ("resnet50", "mds"):
      raise ValueError(f"this twin has ('resnet50', 'mds') only, not {built}")
    self.config, self.image_size = config, image_size
    strides = config["strides"]
    self.encoder = torch_twin.Encoder(strides, config["freeze_until"])
    self.enlargement = torch_twin.per_stride(config["query_upsampling"], strides)
    self.modulators = [f"modulator_{stride}" for stride in strides]
    for name, stride, factor in zip(self.modulators, strides, self.enlargement):
      side = int(image_size // stride * factor)
      widths = config["mds_widths"]
      self.add_module(name, Modulator(CHANNELS[stride], side, widths))
    scales = torch_twin.per_stride(config["heatmap_scale"], strides)
    self.output_sr_list = nn.ModuleList(
      torch_twin.upsampler(config["heatmap_upsampling"], scale) for scale in scales
    )

  def forward(
    self, support: Tensor, keypoints: Tensor, visible: Tensor, query: Tensor
  ) -> tuple[list[Tensor], Tensor]:
    """Detects; see `torch_twin.LightweightDetector`."""
    shots = support.shape[1]
    images = torch.cat([support, query], 1)
    maps = self.encoder(images.flatten(0, 1))
    maps = [x.unflatten(0, images.shape[:2]) for x in maps]
    heatmaps = []
    for x, name, factor, upsample in zip(
      maps, self.modulators, self.enlargement, self.output_sr_list
    ):
      prototypes = torch_twin.masked_mean(self.pool(x[:, :shots], keypoints), visible)
      enlarged = torch_twin.enlarge(x[:, shots:], factor)
      found = getattr(self, name)(enlarged, prototypes)
      found = torch_twin.apply_to_maps(upsample, found)
      heatmaps.append(found * self.config["temperature"])
    return heatmaps, maps[-1]

  def pool(self, features: Tensor, keypoints: Tensor) -> Tensor:
    """Reads features [b t c h w] at keypoints [b t n 2]: [b t n c]."""
    return torch_twin.pool(features, keypoints, self.config, self.image_size)
