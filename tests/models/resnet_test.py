"""ResNet-50: structure, pooling, freezing."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import ModelConfig, OptimConfig
from fskd_jax.config.encoders import frozen
from fskd_jax.models import resnet
from fskd_jax.models.build import count_parameters
from fskd_jax.models.resnet import ResNet, max_pool
from fskd_jax.training import optim
from fskd_jax.training.state import init_state, update


def _shapes(strides):
  encoder = ResNet(strides)
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  init = functools.partial(encoder.init_with_output, train=False)
  return jax.eval_shape(init, jax.random.key(0), images)


def test_strides_and_channels():
  maps, _ = _shapes((8, 16, 32))
  assert [x.shape for x in maps] == [
    (1, 8, 8, 512), (1, 4, 4, 1024), (1, 2, 2, 2048)
  ]  # fmt: skip


@pytest.mark.parametrize(
  "strides, parameters",
  [
    ((8,), 9_536 + 215_808 + 1_219_584),
    ((16,), 9_536 + 215_808 + 1_219_584 + 7_098_368),
    ((32,), 19_045_440),
  ],
)
def test_nothing_is_built_beyond_the_last_stride(strides, parameters):
  """Counts of docs/algorithm.md#encoder."""
  _, variables = _shapes(strides)
  assert count_parameters(variables["params"]) == parameters


@pytest.mark.parametrize(
  "side, dtype", [(8, jnp.float32), (7, jnp.float32), (8, jnp.bfloat16)]
)
def test_max_pool_is_nn_max_pool(side, dtype):
  x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(dtype)
  reference = functools.partial(
    nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1))
  )

  @jax.jit
  def values_and_gradients(x):
    pools = (max_pool, reference)
    return [(f(x), jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x)) for f in pools]

  (found, gradient), (expected, expected_gradient) = values_and_gradients(x)
  np.testing.assert_array_equal(found, expected)
  if dtype == jnp.float32:  # in bfloat16 maxima tie
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


@pytest.mark.slow
def test_freezing_stops_at_the_named_stage(monkeypatch):
  short = {"layer1": (8, 4), "layer2": (16, 8)}
  monkeypatch.setattr(resnet, "STAGES", short)
  encoder = ResNet((8,), blocks=(1, 2))
  images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
  variables = seeded_variables(encoder.init, images, train=False)

  def terms(params, batch_stats, batch, part):
    maps, updates = encoder.apply(
      {"params": params["encoder"], "batch_stats": batch_stats},
      images,
      train=True,
      mutable=["batch_stats"],
    )
    return {"loss": ((maps[0] ** 2).sum(), 1.0)}, updates["batch_stats"]

  params = {"encoder": variables["params"]}
  rates = frozen(ModelConfig(freeze_until="layer1"))
  tx = optim.make_optimizer(OptimConfig(), 10, rates)
  state = init_state({**variables, "params": params}, tx)
  step = functools.partial(
    update, batch=None, terms=terms, weights={"loss": 1.0}, tx=tx
  )
  freezing = jax.jit(functools.partial(step, rates=rates)).lower(state)
  new, _ = freezing.compile()(state)
  before, after = jax.device_get((params["encoder"], new.params["encoder"]))
  for name, tree in after.items():
    moved = jax.tree.map(lambda a, b: (a != b).any(), tree, before[name])
    assert any(jax.tree.leaves(moved)) == name.startswith("layer2"), name
  # Nothing flows back below the frozen stage: the rest takes much less work.
  training_all = jax.jit(step).lower(state)
  work = [lowered.cost_analysis()["flops"] for lowered in (freezing, training_all)]
  assert work[0] < 0.7 * work[1]
  # Frozen stages still record their statistics.
  assert not np.array_equal(
    new.batch_stats["bn1"]["mean"], variables["batch_stats"]["bn1"]["mean"]
  )
