"""Convolutions against flax's: results and gradients."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from fskd_jax.models import convolution


def _values_and_gradients(channels, size, stride, side, padding, convolve):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, side, side + 1, channels), np.float32)
  network = nn.Conv(
    *(4, (size, size), (stride, stride)),
    padding=padding,
    conv_general_dilated=convolve,
  )

  @jax.jit
  def run(x):
    variables = network.init(jax.random.key(0), x)
    total = lambda v, x: (network.apply(v, x) ** 2).sum()
    return network.apply(variables, x), jax.grad(total, (0, 1))(variables, x)

  return run(x)


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
  "channels, size, padding",
  [(3, 1, 0), (3, 3, 1), (3, 3, "SAME"), (3, 3, ((2, 0), (0, 1))), (4, 3, 0)]
  + [(4, 3, 1), (4, 3, "SAME"), (4, 3, ((2, 0), (0, 1))), (3, 5, "SAME")],
)
def test_results_and_gradients_are_those_of_flax(channels, size, padding, stride, side):
  case = (channels, size, stride, side, padding)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    _values_and_gradients(*case, convolution.convolve),
    _values_and_gradients(*case, None),
  )


def test_both_forms_for_devices_agree():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 7, 6, 3), np.float32)
  kernel = rng.standard_normal((3, 5, 3, 4), np.float32)
  direct, product = convolution._forms((2, 3), ((1, 0), (2, 2)))
  np.testing.assert_allclose(product(x, kernel), direct(x, kernel), rtol=1e-4)


def test_every_episode_of_a_batch_can_be_mapped_over():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 2, 6, 6, 4), np.float32)
  kernel = rng.standard_normal((3, 3, 4, 2), np.float32)
  total = lambda x: (convolution.convolve(x, kernel, (2, 2), "SAME") ** 2).sum()
  gradient = jax.grad(total)
  found, one_by_one = jax.jit(jax.vmap(gradient))(x), map(jax.jit(gradient), x)
  np.testing.assert_allclose(found, np.stack([*one_by_one]), rtol=1e-4, atol=1e-5)
