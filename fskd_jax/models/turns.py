"""Maps over many keypoint types in chunks, so that memory stays bounded."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

MAX_NUMBERS = 2**23
"""Of one array in a turn: 32 MB, of which a few may live at once."""


def in_turns(
  function: Callable[[Any], Any], types: Any, *, numbers: int, axis: int
) -> Any:
  """Applies a function that treats every keypoint type alike.

  Args:
    function: from a part of `types` to a tree of arrays with the types at `axis`.
    types: tree of arrays [b n ..].
    numbers: in the largest array that the function makes of one type.
    axis: of the types in the result.

  Returns:
    What the function makes of all types: one array of each kind, however many there
    are; all else takes the memory of one turn.
  """
  number = jax.tree.leaves(types)[0].shape[1]
  least = -(-number // max(1, MAX_NUMBERS // numbers))
  if least <= 1:
    return function(types)
  # A few more turns, if they come out even: joining the parts is then no work.
  turns = next((n for n in range(least, 2 * least) if number % n == 0), least)
  size = -(-number // turns)

  def turn(start: Array) -> Any:
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, start, size, axis=1)
    return function(jax.tree.map(take, types))

  # The last turn reaches back into the one before.
  starts = jnp.minimum(jnp.arange(turns) * size, number - size)

  def joined(parts: Array) -> Array:
    parts = jnp.moveaxis(parts, 0, axis)
    shape = (*parts.shape[:axis], turns * size, *parts.shape[axis + 2 :])
    whole = parts.reshape(shape)
    if turns * size == number:
      return whole
    before, last = jnp.split(whole, [(turns - 1) * size], axis)
    repeated = turns * size - number
    last = jax.lax.slice_in_dim(last, repeated, size, axis=axis)
    return jnp.concatenate([before, last], axis)

  return jax.tree.map(joined, jax.lax.map(turn, starts))
