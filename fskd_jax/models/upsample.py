"""Up-sampling of heat-maps and query features."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NUM_CONVOLUTIONS = {"bilinear": 0, "conv1": 1, "conv2": 2}


def resize_bilinear(maps: Array, side: int, axes: tuple[int, int]) -> Array:
  """Resizes two axes to `side`; half-pixel centres, edges clamped.

  For enlarging, the same as PyTorch's `interpolate` with align_corners=False.
  """
  shape = list(maps.shape)
  for axis in axes:
    shape[axis] = side
  return jax.image.resize(maps, shape, "bilinear", antialias=False)


class MapConvolution(nn.Module):
  """One 5x5 convolution for every map on its own, written as a sum of shifted maps.

  On a single channel this is several times faster than a convolution. Weights
  start as in PyTorch; the bias at 0.
  """

  @nn.compact
  def __call__(self, maps: Float[Array, "*maps h w"]) -> Float[Array, "*maps h w"]:
    """Convolves, with zeros around."""
    init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    kernel = self.param("kernel", init, (5, 5, 1, 1))
    bias = self.param("bias", nn.initializers.zeros, (1,))
    h, w = maps.shape[-2:]
    padded = jnp.pad(maps, ((0, 0),) * (maps.ndim - 2) + ((2, 2), (2, 2)))
    taps = ((i, j) for i in range(5) for j in range(5))
    shifted = (padded[..., i : i + h, j : j + w] * kernel[i, j, 0, 0] for i, j in taps)
    return functools.reduce(jnp.add, shifted) + bias[0]


class HeatmapUpsampler(nn.Module):
  """Enlarges heat-maps, then perhaps convolves them.

  Attributes:
    kind: Form of the up-sampling: "none" (`scale` is ignored), "bilinear", "conv1"
      (bilinear, one convolution) or "conv2" (bilinear, two with a ReLU between).
    scale: Factor on the side.

  Source: docs/algorithm.md#upsampling.
  """

  kind: str
  scale: float

  @nn.compact
  def __call__(self, maps: Float[Array, "b m n h w"]) -> Float[Array, "b m n H W"]:
    """Up-samples.

    Raises:
      ValueError: `kind` is unknown.
    """
    if self.kind == "none":
      return maps
    if self.kind not in NUM_CONVOLUTIONS:
      raise ValueError(
        f"heatmap_upsampling: got {self.kind!r}, "
        f"expected 'none' or one of {tuple(NUM_CONVOLUTIONS)}"
      )
    maps = resize_bilinear(maps, int(maps.shape[-1] * self.scale), axes=(-2, -1))
    for i in range(NUM_CONVOLUTIONS[self.kind]):
      maps = MapConvolution(name=f"conv{i + 1}")(nn.relu(maps) if i else maps)
    return maps
