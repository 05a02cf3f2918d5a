"""Modulate-then-detect (MDS), the baseline of SMD.

Each keypoint type gets a copy of the query map, so the work and memory of the
convolutions grow with the number of types; `smd` avoids that.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.convolution import convolve


class Modulator(nn.Module):
  """Multiplies maps by prototypes, describes every product and locates in it.

  The descriptor consists of convolutions of stride 2; the head is one linear layer from
  the whole remaining map to the cells of the heat-map, so the parameters fix the side
  of the map.

  Weights start with He's variance. The published N(0, 0.01^2) is close to it for an
  input of 2048 channels; with fewer, maps shrink from layer to layer and a detector
  trained from scratch starts much more slowly.

  Attributes:
    widths: Channels of the convolutions.
    dtype: Type of the convolutions; the head is float32.

  Source: docs/algorithm.md#mds.
  """

  widths: tuple[int, ...]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, query: Float[Array, "b m h w c"], prototypes: Float[Array, "b n c"]
  ) -> Float[Array, "b m n h w"]:
    """Computes a heat-map of every keypoint type on every query image, in float32."""
    (b, m, h, w, c), n = query.shape, prototypes.shape[1]
    query, prototypes = query.astype(self.dtype), prototypes.astype(self.dtype)
    products = query[:, :, None] * prototypes[:, None, :, None, None]
    x = products.reshape(b * m * n, h, w, c)
    for i, width in enumerate(self.widths):
      x = nn.Conv(
        width,
        (3, 3),
        strides=(2, 2),
        padding=1,
        conv_general_dilated=convolve,
        dtype=self.dtype,
        kernel_init=nn.initializers.he_normal(),
        name=f"conv{i + 1}",
      )(x)
      x = nn.relu(x)
    init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    head = nn.Dense(h * w, dtype=jnp.float32, kernel_init=init, name="head")
    return head(x.reshape(b * m * n, -1)).reshape(b, m, n, h, w)
