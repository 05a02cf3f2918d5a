"""The light-weight few-shot keypoint detector and its losses in PyTorch.

The twin of `fskd_jax`: the state dict has the original's keys, so that what
`fskd export` writes loads with strict=True. Self-contained: copy this one file.
Axes: b episodes, t images (k support, m query), n keypoint types, c channels, h w.
Keypoints are (x, y) in pixels of the input, the centre of pixel (0, 0) at (0, 0).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAUSSIAN_CUT = 4.6052
CHANNELS = {8: 512, 16: 1024, 32: 2048}
LAST_BLOCK = {8: 8, 16: 14, 32: 16}
"""Per stride: channels, and place of the last block in `encoder_list`."""
FROZEN_BLOCK = {"": -1, "stem": 3, "layer1": 4, "layer2": 8, "layer3": 14, "layer4": 16}


class Bottleneck(nn.Module):
  """Residual block 1x1, 3x3, 1x1; the 3x3 carries the stride."""

  def __init__(self, inputs: int, width: int, stride: int):
    super().__init__()
    outputs = 4 * width
    self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(width)
    self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
    self.bn3 = nn.BatchNorm2d(outputs)
    self.downsample = nn.Identity()
    if inputs != outputs:
      self.downsample = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
      )

  def forward(self, x: Tensor) -> Tensor:
    """Applies the block."""
    y = F.relu(self.bn1(self.conv1(x)))
    y = F.relu(self.bn2(self.conv2(y)))
    return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class Encoder(nn.Module):
  """ResNet-50 up to the second block of layer4; one map per stride."""

  def __init__(self, strides: Sequence[int], freeze_until: str):
    super().__init__()
    self.returned = [LAST_BLOCK[stride] for stride in strides]
    self.frozen = FROZEN_BLOCK[freeze_until]
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
    layer1 = [Bottleneck(64 if i == 0 else 256, 64, 1) for i in range(3)]
    blocks = [*stem, nn.MaxPool2d(3, 2, 1), nn.Sequential(*layer1)]
    for count, width in ((4, 128), (6, 256), (2, 512)):
      blocks.append(Bottleneck(2 * width, width, 2))
      blocks += [Bottleneck(4 * width, width, 1) for _ in range(count - 1)]
    self.encoder_list = nn.ModuleList(blocks[: max(self.returned) + 1])

  def forward(self, x: Tensor) -> list[Tensor]:
    """Encodes [t 3 L L]."""
    maps = {}
    for index, block in enumerate(self.encoder_list):
      x = block(x)
      if index == self.frozen:
        x = x.detach()
      maps[index] = x
    return [maps[index] for index in self.returned]


class KernelGenerator(nn.Module):
  """Turns the prototypes of one scale into kernels of every size."""

  def __init__(self, channels: int, config: Mapping[str, Any]):
    super().__init__()
    sizes = config["kernel_sizes"]
    self.residual, self.sizes = config["residual_crm"], sizes
    self.weight_net_part1 = nn.ModuleList(
      nn.Sequential(
        nn.ConvTranspose2d(channels, channels, size, groups=channels), nn.ReLU()
      )
      if size > 1
      else nn.Identity()
      for size in sizes
    )
    self.weight_net_part2 = nn.ModuleList(
      nn.Sequential(
        nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
      )
      for _ in (sizes[:1] if config["shared_crm"] else sizes)
    )
    self.bias_net = nn.ModuleList(
      nn.Sequential(
        *(nn.Linear(channels, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()),
        nn.Linear(128, 1),
      )
      for _ in (sizes if config["bias_net"] else ())
    )

  def forward(self, prototypes: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """From [b n c]; per size [b n c s s], and [b n] or None."""
    b, n, c = prototypes.shape
    groups = []
    for j, srm in enumerate(self.weight_net_part1):
      taps = srm(prototypes.reshape(b * n, c, 1, 1))
      refined = self.weight_net_part2[min(j, len(self.weight_net_part2) - 1)](taps)
      kernels = taps + refined if self.residual else refined
      bias = self.bias_net[j](prototypes)[..., 0] if self.bias_net else None
      groups.append((kernels.reshape(b, n, *kernels.shape[1:]), bias))
    return groups


class LightweightDetector(nn.Module):
  """Finds in query images the keypoints that are annotated in support images."""

  def __init__(self, config: Mapping[str, Any], image_size: int):
    """Builds the network.

    Args:
      config: the section "model" of the configuration that an export carries.
      image_size: side of the input, pixels.
    """
    super().__init__()
    known = ("resnet50", "smd", "srm_crm")
    built = config["encoder"], config["head"], config["kernel_generator"]
    if built != known:
      raise ValueError(f"the twin has {known} only, not {built}")
    self.config, self.image_size = config, image_size
    strides, sizes = config["strides"], config["kernel_sizes"]
    self.encoder = Encoder(strides, config["freeze_until"])
    self.weight_generator_list = nn.ModuleList(
      KernelGenerator(CHANNELS[stride], config) for stride in strides
    )
    self.enlargement = per_stride(config["query_upsampling"], strides)
    scales = per_stride(config["heatmap_scale"], strides)
    self.output_sr_list = nn.ModuleList(
      upsampler(config["heatmap_upsampling"], scale) for scale in scales for _ in sizes
    )

  def forward(
    self, support: Tensor, keypoints: Tensor, visible: Tensor, query: Tensor
  ) -> tuple[list[Tensor], Tensor]:
    """Detects.

    Args:
      support: [b k 3 L L], normalised by the mean and deviation of ImageNet.
      keypoints: [b k n 2] of the support.
      visible: bool [b k n].
      query: [b m 3 L L].

    Returns:
      Heat-maps [b m n h w] of every group (stride, then kernel size), and the
      coarsest features [b t c h w] of all images, support first.
    """
    shots = support.shape[1]
    images = torch.cat([support, query], 1)
    maps = self.encoder(images.flatten(0, 1))
    maps = [x.unflatten(0, images.shape[:2]) for x in maps]
    heatmaps = []
    for x, generate, factor in zip(maps, self.weight_generator_list, self.enlargement):
      pooled = self.pool(x[:, :shots], keypoints)
      enlarged = enlarge(x[:, shots:], factor)
      for kernels, bias in generate(masked_mean(pooled, visible)):
        found = self.detect(enlarged, kernels, bias)
        found = apply_to_maps(self.output_sr_list[len(heatmaps)], found)
        heatmaps.append(found * self.config["temperature"])
    return heatmaps, maps[-1]

  def pool(self, features: Tensor, keypoints: Tensor) -> Tensor:
    """Reads features [b t c h w] at keypoints [b t n 2]: [b t n c]."""
    return pool(features, keypoints, self.config, self.image_size)

  def detect(self, query: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """Correlates [b m c h w] with [b n c s s] of the same episode: [b m n h w]."""
    (b, m, c, h, w), (n, size) = query.shape, kernels.shape[1::3]
    offset = 0.0 if bias is None else bias[:, None, :, None, None]
    cosine = self.config["similarity"] == "cosine"
    if cosine:
      query, kernels = F.normalize(query, dim=2), F.normalize(kernels, dim=2)
    maps = F.conv2d(
      query.transpose(0, 1).reshape(m, b * c, h, w),
      kernels.reshape(b * n, c, size, size),
      padding=size // 2,
      groups=b,
    )
    maps = maps.reshape(m, b, n, h, w).transpose(0, 1)
    if cosine:
      return (maps + offset) / size**2
    return maps / (size**2 * self.config["plain_scale"]) + offset


def per_stride(factors: Sequence[float], strides: Sequence[int]) -> Sequence[float]:
  """Repeats a single factor for every stride."""
  return factors if len(factors) == len(strides) else list(factors) * len(strides)


def enlarge(maps: Tensor, factor: float) -> Tensor:
  """Up-samples [b m c h w]."""
  if factor == 1:
    return maps
  flat = F.interpolate(maps.flatten(0, 1), scale_factor=factor, mode="bilinear")
  return flat.unflatten(0, maps.shape[:2])


def apply_to_maps(layers: nn.Module, maps: Tensor) -> Tensor:
  """Applies a network of one channel to each map of [b m n h w] on its own."""
  flat = layers(maps.flatten(0, 2)[:, None])[:, 0]
  return flat.unflatten(0, maps.shape[:3])


def upsampler(kind: str, scale: float) -> nn.Module:
  """Makes the network that enlarges heat-maps."""
  convolutions = {"none": 0, "bilinear": 0, "conv1": 1, "conv2": 2}[kind]
  if kind == "none":
    return nn.Identity()
  layers: list[nn.Module] = [nn.Upsample(scale_factor=scale, mode="bilinear")]
  for i in range(convolutions):
    layers += [nn.ReLU()] if i else []
    layers.append(nn.Conv2d(1, 1, 5, padding=2))
  return nn.Sequential(*layers)


def pool(
  features: Tensor, keypoints: Tensor, config: Mapping[str, Any], image_size: int
) -> Tensor:
  """Reads features [b t c h w] at keypoints [b t n 2]: [b t n c]."""
  center = keypoints.clamp(0, image_size - 1)
  if config["truncate_pooling_center"]:
    center = center.floor()
  exponents = squared_exponents(
    center, features.shape[-1], image_size, config["pool_sigma"]
  )
  nearest = exponents.amin((-2, -1), keepdim=True).clamp(min=GAUSSIAN_CUT)
  exponents = exponents.masked_fill(exponents > nearest, torch.inf)
  weights = (-exponents).flatten(-2).softmax(-1)
  return weights @ features.flatten(-2).transpose(-1, -2)


def masked_mean(pooled: Tensor, visible: Tensor) -> Tensor:
  """Averages [b t n c] over the images that show a type; 0 if none does."""
  total = (pooled * visible[..., None]).sum(1)
  return total / visible.sum(1).clamp(min=1)[..., None]


def squared_exponents(
  keypoints: Tensor, cells: int, image_size: int, sigma: float
) -> Tensor:
  """d^2 / (2 sigma^2) from [... 2] to every cell; sigma is of the image side."""
  stride = image_size / cells
  centers = torch.arange(cells, device=keypoints.device) * stride + (stride - 1) / 2
  exponents = (keypoints[..., None] - centers) ** 2 / (2 * (sigma * image_size) ** 2)
  return exponents[..., 1, :, None] + exponents[..., 0, None, :]


def heatmap_loss(
  heatmaps: list[Tensor],
  keypoints: Tensor,
  valid: Tensor,
  image_size: int,
  sigma: float,
) -> Tensor:
  """Mean squared difference to the Gaussian targets over valid [b m n] and groups."""
  losses = []
  for maps in heatmaps:
    exponents = squared_exponents(keypoints, maps.shape[-1], image_size, sigma)
    targets = torch.where(exponents <= GAUSSIAN_CUT, torch.exp(-exponents), 0.0)
    squares = ((maps - targets) ** 2).mean((-2, -1))
    # No boolean index: its length would have to come back from the device.
    losses.append((squares * valid).sum() / valid.sum())
  return torch.stack(losses).mean()


def mfcl_loss(
  features: Tensor,
  visible: Tensor,
  keypoint_ids: Tensor,
  negatives: Tensor,
  temperature: float,
) -> Tensor:
  """Mean-feature contrastive learning over every pair of episodes.

  Args:
    features: [b t n c], pooled at keypoints.
    visible: [b t n].
    keypoint_ids: [b n]; equal ids are the same type, -1 is none.
    negatives: [b t g c], pooled at background points.
    temperature: divides the cosine.
  """
  means = F.normalize(masked_mean(features, visible), dim=-1)
  seen, background = visible.any(1), F.normalize(negatives.flatten(1, 2), dim=-1)
  i, j = torch.triu_indices(len(means), len(means), 1, device=means.device)
  both = seen[i][:, :, None] & seen[j][:, None, :]
  same = both & (keypoint_ids[i][:, :, None] == keypoint_ids[j][:, None, :])
  same &= (keypoint_ids[i] >= 0)[:, :, None]
  logits = means[i] @ means[j].transpose(1, 2) / temperature
  logits = logits.masked_fill(~both, -1e9)
  anchors = torch.cat([background[i], background[j]], 1).transpose(1, 2)
  total = 0.0
  for rows, matches, own in (
    (logits, same, means[i]),
    (logits.transpose(1, 2), same.transpose(1, 2), means[j]),
  ):
    rows = torch.cat([rows, own @ anchors / temperature], 2).log_softmax(2)
    total = total - (rows[:, :, : matches.shape[2]] * matches).sum((1, 2))
  count = same.sum((1, 2))
  per_pair = total / (2 * count.clamp(min=1))
  return per_pair.sum() / (count > 0).sum().clamp(min=1)
