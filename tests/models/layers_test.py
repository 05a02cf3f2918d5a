"""Batch norm against flax's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.models.layers import BatchNorm


def _maps(mean=1.0):
  rng = np.random.default_rng(0)
  x = mean + rng.standard_normal((8, 3, 3, 4)) * [0.1, 1, 2, 3]
  return x.astype(np.float32), rng.standard_normal(x.shape, np.float32)


def _variables():
  rows = iter(np.random.default_rng(1).uniform(0.5, 2, (4, 4)).astype(np.float32))
  return {
    "params": {"scale": next(rows), "bias": next(rows)},
    "batch_stats": {"mean": next(rows), "var": next(rows)},
  }


def _run(norm, x, weights):
  """Returns the result, the new statistics and the gradients of a weighted sum."""

  def weighted(params, x):
    found = norm.apply({**_variables(), "params": params}, x, mutable=["batch_stats"])
    return (found[0] * weights).sum(), found

  params = _variables()["params"]
  gradients, found = jax.grad(weighted, (0, 1), has_aux=True)(params, x)
  return gradients, found


@pytest.mark.parametrize("running", [True, False])
def test_batch_norm_is_flax_batch_norm(running):
  options = dict(use_running_average=running, momentum=0.8)
  expected = nn.BatchNorm(**options, use_fast_variance=False)
  found, expected = (
    jax.jit(functools.partial(_run, norm))(*_maps())
    for norm in (BatchNorm(**options), expected)
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=2e-5), found, expected
  )


def test_digits_survive_a_mean_far_from_zero():
  x, weights = _maps(mean=300.0)
  _, (y, state) = jax.jit(functools.partial(_run, BatchNorm(False)))(x, weights)
  x = x.astype(np.float64)
  var = x.var((0, 1, 2))
  now = (
    np.asarray(state["batch_stats"]["var"]) - 0.9 * _variables()["batch_stats"]["var"]
  ) * 10
  np.testing.assert_allclose(now, var, rtol=1e-3)
  scale, bias = _variables()["params"].values()
  expected = (x - x.mean((0, 1, 2))) / np.sqrt(var + 1e-5) * scale + bias
  np.testing.assert_allclose(y, expected, atol=0.01)


def test_statistics_of_devices_are_those_of_the_whole_batch():
  # Devices differ far more than the images of each.
  x, weights = _maps()
  x += 5 * np.arange(4, dtype=np.float32).repeat(2)[:, None, None, None]
  expected = jax.jit(functools.partial(_run, BatchNorm(False)))(x, weights)
  split = lambda y: y.reshape(4, 2, *y.shape[1:])
  run = jax.pmap(functools.partial(_run, BatchNorm(False, axis_name="d")), "d")
  (params, inputs), (y, state) = run(split(x), split(weights))
  whole = lambda y: np.asarray(y).reshape(8, *y.shape[2:])
  found = (
    (jax.tree.map(lambda g: g.sum(0), params), whole(inputs)),
    (whole(y), jax.tree.map(lambda s: s[0], state)),
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=5e-5), found, expected
  )


def test_half_precision_keeps_statistics_in_float32():
  x, _ = _maps()
  norm = BatchNorm(False, dtype=jnp.bfloat16)
  y, state = norm.apply(_variables(), x.astype(jnp.bfloat16), mutable=["batch_stats"])
  assert y.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}
