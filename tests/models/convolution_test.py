"""Convolutions against flax's: results and gradients."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from fskd_jax.models import convolution


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
  "channels, size, padding",
  [(3, 1, 0), (3, 3, 1), (3, 3, "SAME"), (3, 3, ((2, 0), (0, 1))), (4, 3, 0)]
  + [(4, 3, 1), (4, 3, "SAME"), (4, 3, ((2, 0), (0, 1))), (3, 5, "SAME")],
)
def test_results_and_gradients_are_those_of_flax(channels, size, padding, stride):
  rng = np.random.default_rng(0)
  kernel = rng.standard_normal((size, size, channels, 4), np.float32) / size
  variables = {"params": {"kernel": kernel, "bias": np.arange(4, dtype=np.float32)}}
  images = [
    rng.standard_normal((2, side, side + 1, channels), np.float32) for side in (5, 6)
  ]

  @jax.jit
  def run(variables, images):
    def both(convolve):
      network = nn.Conv(
        *(4, (size, size), (stride, stride)),
        padding=padding,
        conv_general_dilated=convolve,
      )

      def total(variables, x):
        y = network.apply(variables, x)
        return (y**2).sum(), y

      grad = jax.value_and_grad(total, (0, 1), has_aux=True)
      return [grad(variables, x) for x in images]

    return both(convolution.convolve), both(None)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    *run(variables, images),
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


def test_variables_are_drawn_alike_with_a_single_operation_for_each():
  for options in ({}, {"strides": (2, 2)}, {"feature_group_count": 4}):
    network = nn.Conv(4, (3, 3), conv_general_dilated=convolution.convolve, **options)
    x = np.ones((1, 6, 6, 4), np.float32)
    key = jax.random.key(0)
    with convolution.plain():
      drawn = network.init(key, x)
      operations = jax.make_jaxpr(network.apply)(drawn, x).jaxpr.eqns
      plain = network.apply(drawn, x)
    jax.tree.map(np.testing.assert_array_equal, drawn, network.init(key, x))
    names = [operation.primitive.name for operation in operations]
    assert names.count("conv_general_dilated") == 1 and len(names) <= 4
    np.testing.assert_allclose(plain, network.apply(drawn, x), rtol=1e-5, atol=1e-5)
