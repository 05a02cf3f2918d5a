"""Maps a function over many keypoint types in chunks, so that memory stays bounded."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

MAX_NUMBERS = 2**23
"""Size of the largest array in a chunk: 32 MB, of which a few may live at once."""


def map_in_chunks(
  function: Callable[[Any], Any], types: Any, *, numbers: int, axis: int
) -> Any:
  """Applies a function that treats all keypoint types alike to one chunk at a time.

  Args:
    function: Function from a part of `types` to a tree of arrays with the types at
      `axis`.
    types: Tree of arrays [b n ..].
    numbers: Size of the largest array that the function makes of one type.
    axis: Axis of the types in the result.

  Returns:
    The function's result for all types. Beside it, memory holds one chunk.
  """
  number = jax.tree.leaves(types)[0].shape[1]
  least = -(-number // max(1, MAX_NUMBERS // numbers))
  if least <= 1:
    return function(types)
  # More chunks, if they are then of equal size: the parts need no cutting.
  chunks = next((n for n in range(least, 2 * least) if number % n == 0), least)
  size = -(-number // chunks)

  def map_chunk(start: Array) -> Any:
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, start, size, axis=1)
    return function(jax.tree.map(take, types))

  # The last chunk reaches back into the one before.
  starts = jnp.minimum(jnp.arange(chunks) * size, number - size)

  def join(parts: Array) -> Array:
    parts = jnp.moveaxis(parts, 0, axis)
    shape = (*parts.shape[:axis], chunks * size, *parts.shape[axis + 2 :])
    whole = parts.reshape(shape)
    if chunks * size == number:
      return whole
    before, last = jnp.split(whole, [(chunks - 1) * size], axis)
    repeated = chunks * size - number
    last = jax.lax.slice_in_dim(last, repeated, size, axis=axis)
    return jnp.concatenate([before, last], axis)

  return jax.tree.map(join, jax.lax.map(map_chunk, starts))
