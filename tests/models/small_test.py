"""The small encoder: shapes, size, and batch norm over several devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.models.build import count_parameters
from fskd_jax.models.small import SmallEncoder


def test_maps_share_one_width():
  encoder = SmallEncoder((8, 16))
  images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  init = functools.partial(encoder.init_with_output, train=False)
  maps, _ = jax.eval_shape(init, jax.random.key(0), images)
  assert [x.shape for x in maps] == [(2, 8, 8, 96), (2, 4, 4, 96)]


def test_half_a_million_parameters():
  encoder = SmallEncoder()
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(
    functools.partial(encoder.init, train=False), jax.random.key(0), images
  )
  assert 0.5e6 < count_parameters(variables["params"]) < 0.6e6
  assert "output_conv_16" not in variables["params"]


@pytest.mark.slow
def test_synchronised_batch_norm_sees_the_whole_batch():
  widths = (4, 4, 4, 4)
  whole = SmallEncoder(widths=widths)
  split = SmallEncoder(widths=widths, axis_name="data")
  images = jax.random.normal(jax.random.key(0), (4, 16, 16, 3)) + jnp.arange(
    4.0
  ).reshape(4, 1, 1, 1)
  variables = seeded_variables(whole.init, images, train=False)

  def run(encoder, images):
    return encoder.apply(variables, images, train=True, mutable=["batch_stats"])

  expected = jax.jit(functools.partial(run, whole))(images)
  shards = images.reshape(2, 2, 16, 16, 3)
  found = jax.jit(jax.vmap(functools.partial(run, split), axis_name="data"))(shards)
  np.testing.assert_allclose(
    found[0][0].reshape(expected[0][0].shape), expected[0][0], atol=2e-4
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x[0], y, atol=1e-5), found[1], expected[1]
  )
