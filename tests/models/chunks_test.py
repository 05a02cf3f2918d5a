import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.models import chunks
from fskd_jax.models.chunks import map_in_chunks


def _both(types):
  """Two kinds of results, with the types at axis 1."""
  first, (second,) = types
  return first * second[..., None], {"sum": first.sum(-1) + second}


def _types(number):
  rng = np.random.default_rng(0)
  first = rng.standard_normal((2, number, 5), np.float32)
  return first, (rng.standard_normal((2, number), np.float32),)


@pytest.mark.parametrize("number, most", [(7, 9), (7, 3), (8, 4)])
def test_chunks_change_nothing(monkeypatch, number, most):
  monkeypatch.setattr(chunks, "MAX_NUMBERS", 10 * most + 9)
  types, seen = _types(number), []

  def function(part):
    seen.append(part[0].shape[1])
    return _both(part)

  def total(run, types):
    found = run(types)
    return sum(jnp.square(x).sum() for x in jax.tree.leaves(found)), found

  @jax.jit
  def values_and_gradients(types):
    in_parts = functools.partial(map_in_chunks, function, numbers=10, axis=1)
    return [
      jax.grad(functools.partial(total, run), has_aux=True)(types)
      for run in (in_parts, _both)
    ]

  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
    *values_and_gradients(types),
  )
  assert max(seen) <= most


def test_types_may_be_at_another_axis(monkeypatch):
  monkeypatch.setattr(chunks, "MAX_NUMBERS", 3)
  x = np.arange(2 * 8 * 3.0).reshape(2, 8, 3)
  found = map_in_chunks(lambda x: x.transpose(0, 2, 1) + 1, x, numbers=1, axis=2)
  np.testing.assert_array_equal(found, x.transpose(0, 2, 1) + 1)


def test_ten_thousand_types_take_the_memory_of_a_chunk(monkeypatch):
  monkeypatch.setattr(chunks, "MAX_NUMBERS", 2**14)
  matrix = np.eye(32, dtype=np.float32)

  def function(x):
    wide = jax.nn.relu(x[..., None] * matrix[None, :1])  # [1 n 32]
    return (wide @ matrix).sum(-1)

  run = jax.jit(functools.partial(map_in_chunks, function, numbers=32, axis=1))
  x = jax.ShapeDtypeStruct((1, 10_000), np.float32)
  memory = run.lower(x).compile().memory_analysis().temp_size_in_bytes
  assert memory < 6 * 4 * 2**14 < 4 * 32 * 10_000
