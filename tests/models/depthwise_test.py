"""Depthwise convolutions against XLA's grouped ones, finite differences, and loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from fskd_jax.models import depthwise
from fskd_jax.models.convolution import convolve

pytestmark = pytest.mark.slow

CASES = [  # kernel, strides, padding, sides
  ((3, 3), (1, 1), "SAME", (6, 5)),
  ((3, 3), (2, 2), "SAME", (6, 5)),
  ((5, 5), (2, 2), "SAME", (8, 7)),
  ((5, 3), (1, 2), "VALID", (7, 6)),
  ((3, 3), (3, 2), ((2, 0), (0, 3)), (7, 8)),
  ((2, 2), (3, 3), ((0, 0), (0, 0)), (7, 9)),  # cells that no window sees
  ((1, 1), (2, 1), "SAME", (5, 4)),
  ((5, 5), (1, 1), "SAME", (2, 3)),  # a kernel larger than the map
]


def _case(kernel, sides, dtype=np.float32, channels=3):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, *sides, channels)).astype(dtype)
  return x, rng.standard_normal((*kernel, 1, channels)).astype(dtype)


def _pads(padding, kernel, strides, sides):
  if isinstance(padding, str):
    return tuple(jax.lax.padtype_to_pads(sides, kernel, strides, padding))
  return padding


@pytest.mark.parametrize("kernel, strides, padding, sides", CASES)
def test_values_and_gradients_are_those_of_the_grouped_convolution(
  kernel, strides, padding, sides
):
  x, weights = _case(kernel, sides)
  padding = _pads(padding, kernel, strides, sides)

  @functools.partial(jax.jit, static_argnums=0)
  def run(convolve):
    value, back = jax.vjp(lambda x, w: convolve(x, w, strides, padding), x, weights)
    cotangent = np.random.default_rng(1).standard_normal(value.shape, np.float32)
    return value, back(jnp.asarray(cotangent))

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    run(depthwise.convolve_depthwise),
    run(depthwise._grouped),
  )


@pytest.mark.parametrize("kernel, strides, padding, sides", CASES)
def test_one_image_at_a_time_gives_the_gradient_of_all(
  kernel, strides, padding, sides, monkeypatch
):
  monkeypatch.setattr(depthwise, "LARGE_MAP", 1)
  x, weights = _case(kernel, sides)
  padding = _pads(padding, kernel, strides, sides)
  value, back = jax.vjp(lambda w: depthwise._grouped(x, w, strides, padding), weights)
  cotangent = np.random.default_rng(1).standard_normal(value.shape, np.float32)
  found = depthwise._gradient_by_kernel(cotangent, x, weights, strides, padding)
  np.testing.assert_allclose(found, back(cotangent)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel, strides, padding, sides", CASES[1:4])
def test_gradients_are_finite_differences(kernel, strides, padding, sides):
  padding = _pads(padding, kernel, strides, sides)
  run = jax.jit(lambda x, w: depthwise.convolve_depthwise(x, w, strides, padding))
  # Linear in each argument, so that central differences are exact for any step.
  options = dict(order=1, modes=["rev"], eps=0.5, atol=1e-4, rtol=1e-4)
  check_grads(run, _case(kernel, sides), **options)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sums_of_half_precision_are_those_of_float32(dtype):
  strides, padding = (2, 2), ((1, 1), (1, 1))
  x, weights = _case((3, 3), (32, 32), dtype)
  run = functools.partial(
    depthwise.convolve_depthwise, strides=strides, padding=padding
  )
  single = jax.tree.map(lambda x: x.astype(np.float32), (x, weights))
  cotangent = np.ones((2, 16, 16, 3), dtype)
  found, back = jax.vjp(run, x, weights)
  expected, back_single = jax.vjp(run, *single)
  pairs = zip(
    [found, *back(jnp.asarray(cotangent))],
    [expected, *back_single(jnp.ones((2, 16, 16, 3)))],
  )
  for half, truth in pairs:
    assert half.dtype == dtype
    rounding = float(jnp.finfo(dtype).eps) * np.abs(truth).max()
    np.testing.assert_allclose(half.astype(np.float32), truth, atol=rounding)


def test_a_map_of_episodes_is_every_episode():
  x, weights = _case((3, 3), (6, 6))
  total = lambda x: (
    depthwise.convolve_depthwise(x, weights, (2, 2), ((0, 1), (0, 1))) ** 2
  ).sum()
  batch = jnp.stack([x, 2 * x])
  found = jax.jit(jax.vmap(jax.grad(total)))(batch)
  np.testing.assert_allclose(found[1], jax.grad(total)(2 * x), rtol=1e-5, atol=1e-5)


def test_groups_of_several_channels_are_refused():
  x, kernel = np.zeros((1, 4, 4, 4), np.float32), np.zeros((3, 3, 2, 4), np.float32)
  with pytest.raises(NotImplementedError, match="got 2 .* expected 1 or .* 4"):
    convolve(x, kernel, (1, 1), "SAME", feature_group_count=2)
