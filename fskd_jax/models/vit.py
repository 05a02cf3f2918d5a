"""Vision transformers of DINOv2 and DINOv3."""

import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models import transformer
from fskd_jax.models.positions import cubic_weights, rotary_angles, rotate

STRIDE = 16
"""Stride of the map, for patches of any size: images are resized to make it so."""

GRID = 37
"""Rows and columns for which DINOv2 has learned positions: images of 518 px."""


class Size(NamedTuple):
  """Sizes of one transformer.

  Attributes:
    width: Channels of a token.
    depth: Number of blocks.
    heads: Number of heads of the attention.
    registers: Number of tokens without a place, beside the class token.
    is_rotary: Whether queries and keys are turned by their place (DINOv3); otherwise
      learned positions are added to the tokens (DINOv2).
    antialias: Whether learned positions are averaged where there are fewer.
  """

  width: int
  depth: int
  heads: int
  registers: int = 0
  is_rotary: bool = False
  antialias: bool = False

  @property
  def patch(self) -> int:
    """Side of a patch, pixels."""
    return 16 if self.is_rotary else 14

  @property
  def epsilon(self) -> float:
    """Number added to variances."""
    return 1e-5 if self.is_rotary else 1e-6


_SIZES = {"s": Size(384, 12, 6), "b": Size(768, 12, 12), "l": Size(1024, 24, 16)}
SIZES = {
  **{f"dinov2_vit{name}14": size for name, size in _SIZES.items()},
  **{
    f"dinov2_vit{name}14_reg": size._replace(registers=4, antialias=True)
    for name, size in _SIZES.items()
  },
  **{
    f"dinov3_vit{name}16": size._replace(registers=4, is_rotary=True)
    for name, size in _SIZES.items()
  },
}
"""Sizes by encoder, by the names of Meta's repositories."""

_KERNEL_INIT = nn.initializers.truncated_normal(0.02)


class VisionTransformer(nn.Module):
  """Encoder with one map, at stride 16: the tokens of the last block, normalised.

  Attributes:
    size: Sizes of the transformer.
    dtype: Type of the matrix products; parameters, softmax and norms are float32.

  Source: docs/pretrained.md#vision-transformers.
  """

  size: Size
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, images: Float[Array, "t H W 3"], *, train: bool
  ) -> tuple[Float[Array, "t h w d"]]:
    """Encodes normalised images.

    Args:
      images: Normalised images, see `encoder.normalize_for`. Their sides are multiples
        of 16; DINOv2 resizes them to 14 / 16 of that, which makes its patches of 14
        pixels cells of stride 16.
      train: Not used: there is no dropout, and there are no batch statistics.
    """
    del train
    grid = images.shape[1] // STRIDE, images.shape[2] // STRIDE
    tokens = Embeddings(self.size, self.dtype, name="embeddings")(
      resize_to_patches(images, self.size.patch)
    )
    angles = None
    if self.size.is_rotary:
      angles = rotary_angles(*grid, self.size.width // self.size.heads)
    for number in range(self.size.depth):
      tokens = Block(self.size, self.dtype, name=f"block{number}")(tokens, angles)
    tokens = _norm(self.size, self.dtype, "norm")(tokens)
    cells = tokens[:, 1 + self.size.registers :]
    return (cells.reshape(images.shape[0], *grid, self.size.width),)


def resize_to_patches(
  images: Float[Array, "t H W 3"], patch: int
) -> Float[Array, "t h w 3"]:
  """Resizes images so that cells of `STRIDE` pixels become patches; bilinear."""
  if patch == STRIDE:
    return images
  height, width = (side // STRIDE * patch for side in images.shape[1:3])
  return jax.image.resize(images, (images.shape[0], height, width, 3), "bilinear")


class Embeddings(nn.Module):
  """Tokens of an image: class token, registers, patches in row-major order."""

  size: Size
  dtype: DTypeLike

  @nn.compact
  def __call__(self, images: Float[Array, "t h w 3"]) -> Float[Array, "t l d"]:
    """Makes the tokens."""
    size = self.size
    patches = nn.Conv(
      size.width,
      (size.patch, size.patch),
      (size.patch, size.patch),
      padding="VALID",
      dtype=self.dtype,
      kernel_init=_KERNEL_INIT,
      conv_general_dilated=_convolve_patches,
      name="patches",
    )(images)
    grid = patches.shape[1], patches.shape[2]
    tokens = patches.reshape(images.shape[0], -1, size.width)
    first = self.param("cls_token", _KERNEL_INIT, (1, size.width))
    if not size.is_rotary:
      learned = self.param("positions", _KERNEL_INIT, (1 + GRID**2, size.width))
      first = first + learned[:1]
      positions = _resized(learned[1:], grid, size.antialias).astype(self.dtype)
      tokens += positions[None]
    if size.registers:
      registers = self.param("registers", _KERNEL_INIT, (size.registers, size.width))
      first = jnp.concatenate([first, registers])
    first = jnp.broadcast_to(first, (images.shape[0], *first.shape))
    return jnp.concatenate([first.astype(self.dtype), tokens], axis=1)


def _convolve_patches(
  x: Array, kernel: Array, strides: Any, padding: Any, **options: Any
) -> Array:
  """Multiplies patches side by side with the kernel: a matrix product."""
  del padding, options
  (t, h, w, c), (rows, columns) = x.shape, strides
  x = x.reshape(t, h // rows, rows, w // columns, columns, c)
  x = x.transpose(0, 1, 3, 2, 4, 5).reshape(t, h // rows, w // columns, -1)
  return x @ kernel.reshape(-1, kernel.shape[-1])


def _resized(
  learned: Float[Array, "l d"], grid: tuple[int, int], antialias: bool
) -> Float[Array, "L d"]:
  """Interpolates learned positions, as `transformers` does."""
  if grid == (GRID, GRID):
    return learned
  rows, columns = (cubic_weights(GRID, side, antialias) for side in grid)
  cells = learned.reshape(GRID, GRID, -1)
  resized = jnp.einsum(
    "ih,jw,hwd->ijd", rows, columns, cells, precision=jax.lax.Precision.HIGHEST
  )
  return resized.reshape(-1, learned.shape[-1])


class Block(nn.Module):
  """Attention between all tokens, then a network on each; both are added."""

  size: Size
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, "t l d"], angles: Float[np.ndarray, "L c"] | None
  ) -> Float[Array, "t l d"]:
    """Applies the block.

    Args:
      x: Tokens.
      angles: Angles by which the last tokens are turned; None without.
    """
    width = self.size.width
    scales = [
      self.param(name, nn.initializers.ones, (width,)).astype(self.dtype)[None, None]
      for name in ("scale1", "scale2")
    ]
    y = _norm(self.size, self.dtype, "norm1")(x)
    y = Attention(self.size, self.dtype, name="attention")(y, angles)
    x = x + scales[0] * y
    y = _norm(self.size, self.dtype, "norm2")(x)
    y = nn.gelu(self._dense(4 * width, "fc1")(y), approximate=False)
    return x + scales[1] * self._dense(width, "fc2")(y)

  def _dense(self, width: int, name: str) -> nn.Module:
    return nn.Dense(width, dtype=self.dtype, kernel_init=_KERNEL_INIT, name=name)


class Attention(nn.Module):
  """Attention with one matrix for queries, keys and values.

  Where keys are turned, they have no bias: its part of the vector is left out.
  """

  size: Size
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, "t l d"], angles: Float[np.ndarray, "L c"] | None
  ) -> Float[Array, "t l d"]:
    """Attends; see `Block`."""
    d = self.size.width
    kernel = self.param("kernel", _KERNEL_INIT, (d, 3 * d))
    bias = self.param("bias", nn.initializers.zeros, (3 * d,))
    if self.size.is_rotary:
      bias = bias * np.repeat([1.0, 0.0, 1.0], d).astype(np.float32)
    product = x @ kernel.astype(self.dtype) + bias.astype(self.dtype)[None, None]
    parts = product.reshape(*x.shape[:2], 3, self.size.heads, -1)
    query, key, value = (parts[:, :, i] for i in range(3))
    if angles is not None:
      query, key = rotate(query, angles), rotate(key, angles)
    read = attend(query, key, value).reshape(x.shape)
    return nn.Dense(
      d, dtype=self.dtype, kernel_init=_KERNEL_INIT, name="out_projection"
    )(read)


def attend(
  query: Float[Array, "t l n c"],
  key: Float[Array, "t l n c"],
  value: Float[Array, "t l n c"],
) -> Float[Array, "t l n c"]:
  """Reads values by attention within each of n heads.

  On CPUs in blocks of queries, which never hold all weights at once and were faster
  forward than JAX's own attention; gradients are yet to be timed on an idle machine.
  """
  scale = 1 / math.sqrt(query.shape[-1])

  def in_blocks(*vectors: Array) -> Array:
    query, key, value = (x.swapaxes(1, 2) for x in vectors)
    return transformer.attend(query * scale, key, value).swapaxes(1, 2)

  whole = functools.partial(jax.nn.dot_product_attention, scale=scale)
  return jax.lax.platform_dependent(query, key, value, cpu=in_blocks, default=whole)


def _norm(size: Size, dtype: DTypeLike, name: str) -> nn.Module:
  # E[x^2] - E[x]^2 would lose digits that PyTorch keeps.
  return nn.LayerNorm(size.epsilon, dtype=dtype, use_fast_variance=False, name=name)
