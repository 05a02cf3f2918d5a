"""Updates: parts of a batch add up to the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fskd_jax.training import state as train_state

WEIGHTS = {"near": 1.0, "far": 0.3}
TX = optax.sgd(1.0)


def _terms(params, batch_stats, batch, part):
  """Two terms with counts of their own, of a net with one hidden layer."""
  del part
  hidden = jnp.tanh(batch["x"] @ params["in"])
  errors = jnp.square(hidden @ params["out"] - batch["y"])
  masks = {"near": batch["seen"], "far": ~batch["seen"] & batch["counted"]}
  found = {
    name: (jnp.where(mask, errors, 0.0).sum(), mask.sum(dtype=jnp.float32))
    for name, mask in masks.items()
  }
  return found, batch_stats


def _start(width=5):
  rng = np.random.default_rng(1)
  params = {
    "in": jnp.float32(rng.normal(size=(4, width))),
    "out": jnp.float32(rng.normal(size=width) / width),
  }
  return train_state.init_state({"params": params}, TX)


def _batch(seed, b):
  rng = np.random.default_rng(seed)
  return {
    "x": np.float32(rng.normal(size=(b, 4))),
    "y": np.float32(rng.normal(size=b)),
    "seen": rng.random(b) < rng.random(),
    "counted": rng.random(b) < 0.5,
  }


@functools.cache
def _step(parts, axis_name=None):
  return functools.partial(
    train_state.update,
    terms=_terms, weights=WEIGHTS, tx=TX, parts=parts, axis_name=axis_name,
  )  # fmt: skip


@functools.cache
def _compiled(parts):
  return jax.jit(_step(parts))


def _assert_close(found, expected):
  close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
  jax.tree.map(close, found, expected)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4, 12]))
def test_parts_are_the_whole_batch(seed, parts):
  batch = _batch(seed, 12)
  _assert_close(_compiled(parts)(_start(), batch), _compiled(1)(_start(), batch))


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_parts_on_devices_are_the_whole_batch(backend):
  batch, devices = _batch(3, 16), jax.device_count()
  if backend == "pmap":
    run = jax.pmap(_step(2, "d"), "d", in_axes=(None, 0), out_axes=None)
    split = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
  else:
    mesh = Mesh(np.array(jax.devices()), ("d",))
    mapped = jax.shard_map(
      _step(2, "d"), mesh=mesh, in_specs=(P(), P("d")), out_specs=P()
    )
    run, split = jax.jit(mapped), batch
  _assert_close(run(_start(), split), _compiled(1)(_start(), batch))


def test_parts_need_the_memory_of_one():
  state, batch = _start(width=4096), _batch(0, 512)

  def bytes_of(parts):
    compiled = jax.jit(_step(parts)).lower(state, batch).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  whole = bytes_of(1)
  assert bytes_of(2) < 0.7 * whole and bytes_of(16) < whole / 3
