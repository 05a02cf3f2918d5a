"""The light-weight detector in PyTorch with the loops of the original, for its speed.

This is a reconstruction from a description of how the original code behaves
(docs/algorithm.md#loops-of-the-original), not the authors' code: Gaussian maps one
keypoint at a time on grids from Python lists with waits for the device, pooling and
masked means type by type, a loop over scale, episode and kernel size, targets and pairs
of episodes in Python loops. Where the description leaves something open, this does what
is faster. State dict, options and numbers are those of `torch_twin`, which does the
same without loops. Axes as there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.opponents import torch_twin
from benchmarks.opponents.torch_twin import GAUSSIAN_CUT


class LiteralDetector(torch_twin.LightweightDetector):
  """Finds in query images the keypoints that are annotated in support images."""

  def forward(
    self, support: Tensor, keypoints: Tensor, visible: Tensor, query: Tensor
  ) -> tuple[list[Tensor], Tensor]:
    """Detects; see `torch_twin.LightweightDetector`. Nothing is kept between calls."""
    shots = support.shape[1]
    images = torch.cat([support, query], 1)
    maps = self.encoder(images.flatten(0, 1))
    maps = [x.unflatten(0, images.shape[:2]) for x in maps]
    heatmaps = []
    for x, generate, factor in zip(maps, self.weight_generator_list, self.enlargement):
      groups = [[] for _ in self.config["kernel_sizes"]]
      for number in range(len(images)):
        episode = slice(number, number + 1)
        pooled = self.pool(x[episode, :shots], keypoints[episode])
        prototypes = masked_mean(pooled[0], visible[number])
        enlarged = torch_twin.enlarge(x[episode, shots:], factor)
        for group, (kernels, bias) in zip(groups, generate(prototypes[None])):
          group.append(self.detect(enlarged, kernels, bias))
      for group in groups:
        upsample = self.output_sr_list[len(heatmaps)]
        found = [torch_twin.apply_to_maps(upsample, maps) for maps in group]
        heatmaps.append(torch.cat(found) * self.config["temperature"])
    return heatmaps, maps[-1]

  def pool(self, features: Tensor, keypoints: Tensor) -> Tensor:
    """Reads features [b t c h w] at keypoints [b t n 2]: [b t n c]."""
    sigma = self.config["pool_sigma"]
    center = keypoints.clamp(0, self.image_size - 1)
    if self.config["truncate_pooling_center"]:
      center = center.floor()
    pooled = []
    for maps, points in zip(features, center):
      of_types = []
      for n in range(points.shape[1]):
        weights = []
        for point in points[:, n]:
          exponents = exponents_of(point, maps.shape[-1], self.image_size, sigma)
          nearest = max(exponents.min().item(), GAUSSIAN_CUT)
          gaussian = torch.exp(-exponents) * (exponents <= nearest)
          weights.append(gaussian / gaussian.sum())
        # The whole maps once for every type.
        of_types.append((maps * torch.stack(weights)[:, None]).sum((-2, -1)))
      pooled.append(torch.stack(of_types, 1))
    return torch.stack(pooled)


def exponents_of(keypoint: Tensor, cells: int, image_size: int, sigma: float) -> Tensor:
  """d^2 / (2 sigma^2) from one keypoint [2] to every cell [h w]."""
  stride = image_size / cells
  grid = [i * stride + (stride - 1) / 2 for i in range(cells)]
  grid = torch.tensor(grid, dtype=keypoint.dtype).to(keypoint.device)
  x, y = keypoint.cpu().tolist()
  squares = ((grid - y) ** 2)[:, None] + ((grid - x) ** 2)[None, :]
  return squares / (2 * (sigma * image_size) ** 2)


def masked_mean(pooled: Tensor, visible: Tensor) -> Tensor:
  """Averages [t n c] over the images that show a type; 0 if none does."""
  means = []
  for n in range(visible.shape[1]):
    if visible[:, n].sum() > 0:
      total = (pooled[:, n] * visible[:, n, None]).sum(0)
      means.append(total / visible[:, n].sum())
    else:
      means.append(torch.zeros_like(pooled[0, n]))
  return torch.stack(means)


def heatmap_loss(
  heatmaps: list[Tensor],
  keypoints: Tensor,
  valid: Tensor,
  image_size: int,
  sigma: float,
) -> Tensor:
  """Mean squared difference to the Gaussian targets over valid [b m n] and groups."""
  losses = []
  for group in heatmaps:
    total = 0.0
    for maps, points, is_valid in zip(group, keypoints, valid):
      targets = torch.zeros_like(maps)
      for m in range(maps.shape[0]):
        for n in range(maps.shape[1]):
          exponents = exponents_of(points[m, n], maps.shape[-1], image_size, sigma)
          targets[m, n] = torch.exp(-exponents) * (exponents <= GAUSSIAN_CUT)
      differences = ((maps - targets) ** 2).mean((-2, -1))
      total = total + (differences * is_valid).sum()
    losses.append(total / valid.sum())
  return torch.stack(losses).mean()


def mfcl_loss(
  features: Tensor,
  visible: Tensor,
  keypoint_ids: Tensor,
  negatives: Tensor,
  temperature: float,
) -> Tensor:
  """Mean-feature contrastive learning; see `torch_twin.mfcl_loss`."""
  means = [masked_mean(x, mask) for x, mask in zip(features, visible)]
  seen = visible.any(1)
  losses = []
  for i in range(len(means)):
    for j in range(i + 1, len(means)):
      both = seen[i][:, None] & seen[j][None, :]
      same = both & (keypoint_ids[i][:, None] == keypoint_ids[j][None, :])
      same &= (keypoint_ids[i] >= 0)[:, None]
      if not same.any():
        continue
      first, second = F.normalize(means[i], dim=-1), F.normalize(means[j], dim=-1)
      background = torch.cat([negatives[i].flatten(0, 1), negatives[j].flatten(0, 1)])
      background = F.normalize(background, dim=-1)
      similarity = first @ second.T - 100 * (~both).to(first.dtype)
      total = 0.0
      for own, columns, matches in (
        (first, similarity, same),
        (second, similarity.T, same.T),
      ):
        logits = torch.cat([columns, own @ background.T], 1) / temperature
        labels = torch.where(matches.any(1), matches.int().argmax(1), -1)
        total = total + F.cross_entropy(logits, labels, ignore_index=-1)
      losses.append(total / 2)
  return torch.stack(losses).mean() if losses else features.sum() * 0
