"""The transformer encoder of TransPose: attention between all cells of a map."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from fskd_jax.config import TransformerConfig

TEMPERATURE = 10_000.0
"""Ratio of the longest to the shortest wave of the sine embedding, approximately."""

BLOCK = 256
"""Number of queries in a block of attention."""


def sine_position_embedding(
  height: int, width: int, channels: int
) -> Float[np.ndarray, "l d"]:
  """Encodes every cell of a grid by waves along y (first half) and x (second half).

  Rows and columns are numbered from 1 and divided by their count, so the last is
  close to a full turn at any size of the grid.

  Args:
    height: Rows of the grid.
    width: Columns of the grid.
    channels: Number d of channels, a multiple of 4: sine and cosine along two axes.

  Returns:
    float32; cells in row-major order.

  Raises:
    ValueError: `channels` is no multiple of 4.

  Source: docs/transpose.md#position, as the code computes it and not as the
  supplement prints it; in float32 like the code.
  """
  if channels % 4:
    raise ValueError(f"channels: got {channels}, expected a multiple of 4")
  half = channels // 2
  exponents = np.arange(half) // 2 * np.float32(2) / np.float32(half)
  periods = np.float32(TEMPERATURE) ** exponents.astype(np.float32)

  def waves(count: int) -> np.ndarray:
    numbers = np.arange(1, count + 1, dtype=np.float32)
    angles = numbers / (numbers[-1] + np.float32(1e-6)) * np.float32(2 * math.pi)
    angles = angles[:, None] / periods
    return np.where(np.arange(half) % 2, np.cos(angles), np.sin(angles))

  rows = np.broadcast_to(waves(height)[:, None], (height, width, half))
  columns = np.broadcast_to(waves(width), (height, width, half))
  return np.concatenate([rows, columns], -1).reshape(height * width, channels)


def resize_embedding(
  embedding: Float[Array, "l d"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Array, "L d"]:
  """Interpolates an embedding bilinearly, corners on corners.

  A position is a fraction of the extent from the first cell to the last, as in the sine
  embedding, whose last row is a full turn at any size. Half-pixel centres would
  extrapolate at the border.

  Args:
    embedding: Vector of every cell of `grid` in row-major order.
    grid: Height and width of the embedding.
    new_grid: Height and width of the result.

  Source: docs/transpose.md#other-resolutions.
  """
  rows, columns = map(_interpolation, grid, new_grid)
  cells = embedding.reshape(*grid, -1)
  resized = jnp.einsum(
    "ih,jw,hwd->ijd", rows, columns, cells, precision=jax.lax.Precision.HIGHEST
  )
  return resized.reshape(-1, embedding.shape[-1])


class SelfAttention(nn.Module):
  """Attention with the position embedding in queries and keys, but not in values.

  The projection of queries, keys and values is one matrix, as in PyTorch, and is
  initialised as one (Xavier).

  Attributes:
    heads: Number of heads, each of which sees its own d / heads channels.
    dropout: Dropout rate on the attention weights.
    dtype: Type of the matrix products; the softmax is float32.
  """

  heads: int
  dropout: float
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "t l d"],
    position: Float[Array, "#t l d"] | None,
    *,
    train: bool,
  ) -> Float[Array, "t l d"]:
    """Attends, and sows `attention` [t heads l l] before dropout; its rows sum to 1."""
    d = x.shape[-1]
    kernel = self.param("in_kernel", nn.initializers.xavier_uniform(), (d, 3 * d))
    bias = self.param("in_bias", nn.initializers.zeros, (3 * d,))
    x, kernel, bias = (jnp.asarray(y, self.dtype) for y in (x, kernel, bias))
    located = x if position is None else x + position.astype(self.dtype)
    query_key = located @ kernel[:, : 2 * d] + bias[None, None, : 2 * d]
    value = x @ kernel[:, 2 * d :] + bias[None, None, 2 * d :]
    query, key = (self._split(y) for y in jnp.split(query_key, 2, axis=-1))
    query /= math.sqrt(d // self.heads)
    if self.is_mutable_collection("intermediates"):
      self.sow("intermediates", "attention", _attention(query, key))
    is_dropping = train and self.dropout > 0
    rng = self.make_rng("dropout") if is_dropping else None
    read = attend(query, key, self._split(value), self.dropout, rng)
    out = nn.Dense(
      d,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      name="out_projection",
    )
    return out(read.swapaxes(1, 2).reshape(x.shape))

  def _split(self, x: Float[Array, "t l d"]) -> Float[Array, "t heads l c"]:
    return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)


def attend(
  query: Float[Array, "t heads l c"],
  key: Float[Array, "t heads l c"],
  value: Float[Array, "t heads l c"],
  dropout: float = 0.0,
  rng: PRNGKeyArray | None = None,
) -> Float[Array, "t heads l c"]:
  """Reads values by attention, without ever holding all l * l weights.

  Blocks of queries are computed one after the other, and again in the backward pass.
  On a CPU the heads are also computed one by one, so that a block stays in the cache.

  Args:
    query: Queries, scaled by 1 / sqrt(c).
    key: Vectors that queries are compared with.
    value: Vectors that are read.
    dropout: Dropout rate on the weights.
    rng: Random key of the dropout; None turns it off.
  """
  length, channels = query.shape[2:]
  num_blocks = -(-length // BLOCK)
  padding = [(0, num_blocks * BLOCK - length), (0, 0)]

  def head(query: Array, key: Array, value: Array, number: Array) -> Array:
    @jax.checkpoint
    def block(query: Array, place: Array) -> Array:
      scores = jnp.einsum("ic,jc->ij", query, key, preferred_element_type=jnp.float32)
      # The shift cancels, so it needs no gradient.
      highest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
      weights = jnp.exp(scores - highest)
      total = weights.sum(-1, keepdims=True)  # the division comes last: less work
      if rng is not None:
        drawn = jax.random.fold_in(jax.random.fold_in(rng, number), place)
        kept = jax.random.bernoulli(drawn, 1 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout), 0.0)
      read = jnp.einsum(
        "ij,jc->ic",
        weights.astype(value.dtype),
        value,
        preferred_element_type=jnp.float32,
      )
      return (read / total).astype(value.dtype)

    if num_blocks == 1:
      return block(query, jnp.int32(0))
    blocks = jnp.pad(query, padding).reshape(num_blocks, BLOCK, channels)
    read = jax.lax.map(lambda args: block(*args), (blocks, jnp.arange(num_blocks)))
    return read.reshape(-1, channels)[:length]

  heads = [x.reshape(-1, length, channels) for x in (query, key, value)]
  read = jax.lax.platform_dependent(
    *heads,
    jnp.arange(len(heads[0])),
    cpu=lambda *args: jax.lax.map(lambda each: head(*each), args),
    default=jax.vmap(head),
  )
  return read.reshape(query.shape)


def _attention(
  query: Float[Array, "t heads i c"], key: Float[Array, "t heads j c"]
) -> Float[Array, "t heads i j"]:
  scores = jnp.einsum("thic,thjc->thij", query, key, preferred_element_type=jnp.float32)
  return jax.nn.softmax(scores)


class EncoderLayer(nn.Module):
  """Attention and a feed-forward network, each added and then normalised.

  Attributes:
    config: Sizes and dropout.
    dtype: Type of the activations; parameters are float32.

  Source: docs/transpose.md#layers.
  """

  config: TransformerConfig
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "t l d"],
    position: Float[Array, "#t l d"] | None,
    *,
    train: bool,
  ) -> Float[Array, "t l d"]:
    """Applies the layer; with `train`, dropout draws from the stream "dropout"."""
    config = self.config

    def add(x: Array, y: Array, name: str) -> Array:
      norm = nn.LayerNorm(
        1e-5, dtype=self.dtype, use_fast_variance=False, name=name
      )  # PyTorch's epsilon
      return norm(x + drop(y))

    def drop(y: Array) -> Array:
      return nn.Dropout(config.dropout, deterministic=not train)(y)

    def dense(features: int, name: str) -> nn.Dense:
      # Unlike PyTorch's, biases start at 0, which trains equally well.
      init = nn.initializers.xavier_uniform()
      return nn.Dense(features, dtype=self.dtype, kernel_init=init, name=name)

    attention = SelfAttention(
      config.heads, config.dropout, self.dtype, name="attention"
    )
    x = add(x, attention(x, position, train=train), "norm1")
    hidden = drop(nn.relu(dense(config.hidden, "linear1")(x)))
    return add(x, dense(x.shape[-1], "linear2")(hidden), "norm2")


class TransformerEncoder(nn.Module):
  """Layers of attention; the position is added in every one.

  Attributes:
    config: Sizes, number of layers, kind of position embedding, dropout.
    grid: Height and width of the map at which a learnable embedding has its
      parameter, `position` [l d].
    dtype: Type of the activations; parameters are float32.

  Source: docs/transpose.md#layers.
  """

  config: TransformerConfig
  grid: tuple[int, int]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "t l d"], *, grid: tuple[int, int], train: bool
  ) -> Float[Array, "t l d"]:
    """Encodes maps whose cells are tokens in row-major order.

    Args:
      tokens: Tokens, l = height * width of `grid`, d = config.width.
      grid: Height and width of the map. A learnable embedding is interpolated to it.
      train: Whether dropout is on, from the stream "dropout".

    Raises:
      ValueError: The number of tokens is not that of the grid, or the kind of
        position embedding is unknown.
    """
    if tokens.shape[1] != math.prod(grid):
      raise ValueError(
        f"tokens: got {tokens.shape[1]}, expected {math.prod(grid)} of a grid {grid}"
      )
    position = self._position(grid)
    for number in range(self.config.layers):
      layer = EncoderLayer(self.config, self.dtype, name=f"layer{number}")
      tokens = layer(tokens, position, train=train)
    return tokens

  def _position(self, grid: tuple[int, int]) -> Float[Array, "1 l d"] | None:
    kind, channels = self.config.position, self.config.width
    if kind == "none":
      return None
    if kind == "sine":
      return jnp.asarray(sine_position_embedding(*grid, channels))[None]
    if kind == "learnable":
      shape = (math.prod(self.grid), channels)
      embedding = self.param("position", nn.initializers.normal(1.0), shape)
      same = tuple(grid) == tuple(self.grid)
      return (embedding if same else resize_embedding(embedding, self.grid, grid))[None]
    raise ValueError(f"position: got {kind!r}, expected 'sine', 'learnable' or 'none'")


def _interpolation(size: int, new_size: int) -> Float[np.ndarray, "new_size size"]:
  """Returns the weights of the old points of an axis for each new point."""
  places = np.linspace(0, size - 1, new_size)[:, None]
  return np.maximum(1 - np.abs(places - np.arange(size)), 0).astype(np.float32)
