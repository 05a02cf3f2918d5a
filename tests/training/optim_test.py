import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fskd_jax import config
from fskd_jax.config import Config, ModelConfig, OptimConfig, rates
from fskd_jax.training import optim


def _params():
  layer = lambda: {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
  return {
    "encoder": {
      "conv1": layer(),
      "bn1": layer(),
      "layer1_0": {"conv1": layer()},
      "layer3_5": {"conv1": layer()},
      "layer4_0": {"conv1": layer()},
    },
    "kernel_generator_32": {"layer1_0": layer()},
  }


def _updates(tx, params, gradients, steps=1):
  state = tx.init(params)
  for _ in range(steps):
    updates, state = tx.update(gradients, state, params)
  return updates


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_rate_warms_up_and_decays(schedule):
  cfg = OptimConfig(learning_rate=0.5, schedule=schedule, warmup_steps=4)
  rate = optim.learning_rate(cfg, 104)
  np.testing.assert_allclose(
    [rate(s) for s in range(5)], [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6
  )
  middle, last = (0.5, 0.5) if schedule == "constant" else (0.2525, 0.005)
  np.testing.assert_allclose([rate(54), rate(104)], [middle, last], rtol=1e-5)


def _frozen(stage):
  return rates(Config(model=ModelConfig(freeze_until=stage)))


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["", "stem"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_every_step_is_as_long_as_the_schedule_says(optimizer, frozen):
  cfg = OptimConfig(
    optimizer=optimizer, learning_rate=0.5, schedule="cosine", warmup_steps=3
  )
  params = _params()
  gradients = jax.tree.map(jnp.ones_like, params)
  tx = optim.make_optimizer(cfg, 12, _frozen(frozen))
  state, lengths = tx.init(params), []
  for _ in range(12):
    updates, state = tx.update(gradients, state, params)
    # Of a gradient that stays the same, Adam's step is the rate.
    lengths.append(-updates["encoder"]["layer4_0"]["conv1"]["bias"][0])
  rate = optim.learning_rate(cfg, 12)
  np.testing.assert_allclose(lengths, [rate(step) for step in range(12)], rtol=1e-4)
  assert max(lengths) > 3 * min(lengths)


def test_adam_is_adam():
  params = {"w": jnp.float32([1.0, 2.0])}
  gradients = {"w": jnp.float32([0.5, -3.0])}
  tx = optim.make_optimizer(OptimConfig(learning_rate=0.1), 10)
  expected = _updates(optax.adam(0.1), params, gradients, 3)
  np.testing.assert_allclose(_updates(tx, params, gradients, 3)["w"], expected["w"])


def test_adamw_decays_kernels_alone():
  cfg = OptimConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
  params = _params()["kernel_generator_32"]["layer1_0"]
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates = _updates(optim.make_optimizer(cfg, 10), params, zeros)
  np.testing.assert_allclose(updates["kernel"], -0.05)
  assert not updates["bias"].any()


def test_frozen_parameters_do_not_move_and_take_no_memory():
  params = _params()
  gradients = jax.tree.map(jnp.ones_like, params)
  cfg = OptimConfig(optimizer="adamw", weight_decay=0.1)
  tx = optim.make_optimizer(cfg, 10, _frozen("layer3"))
  updates = _updates(tx, params, gradients, 2)
  moved = {
    "/".join(k.key for k in path[:2])
    for path, update in jax.tree_util.tree_leaves_with_path(updates)
    if update.any()
  }
  assert moved == {"encoder/layer4_0", "kernel_generator_32/layer1_0"}
  moments = sum(x.size for x in jax.tree.leaves(tx.init(params)) if x.ndim)
  assert moments == 2 * 2 * 9  # two moments of the two layers that move


def test_parameters_are_split_and_put_together():
  params = _params()
  trained, frozen = optim.split_params(params, _frozen("layer3"))
  assert trained["encoder"]["layer4_0"] == params["encoder"]["layer4_0"]
  assert frozen["encoder"]["layer3_5"] == params["encoder"]["layer3_5"]
  sizes = [sum(x.size for x in jax.tree.leaves(part)) for part in (trained, frozen)]
  assert sizes == [2 * 9, 4 * 9]
  for order in ((trained, frozen), (frozen, trained)):
    assert optim.merge_params(*order) == params
  assert optim.split_params(params, ())[0] == params


def test_clipping_measures_trained_gradients_alone():
  params = _params()
  gradients = jax.tree.map(jnp.ones_like, params)
  gradients["encoder"]["conv1"]["kernel"] *= 1e6
  cfg = OptimConfig(clip_norm=1e3)
  clipped = optim.make_optimizer(cfg, 10, _frozen("stem"))
  free = optim.make_optimizer(OptimConfig(), 10, _frozen("stem"))
  jax.tree.map(
    np.testing.assert_array_equal,
    _updates(clipped, params, gradients),
    _updates(free, params, gradients),
  )
  # Where it does clip, Adam sees gradients of this norm.
  tx = optim.make_optimizer(OptimConfig(clip_norm=0.3), 10)
  state = tx.init(params)
  _, state = tx.update(gradients, state, params)
  mu = optax.tree.get(state, "mu")
  np.testing.assert_allclose(optax.tree.norm(mu), 0.1 * 0.3, rtol=1e-5)


@pytest.mark.parametrize(
  ("fields", "named"),
  [
    ({"optimizer": "sgd"}, "sgd"),
    ({"schedule": "step"}, "step"),
    ({"schedule": "cosine", "warmup_steps": 10}, "warmup_steps = 10"),
  ],
)
def test_wrong_values_are_named(fields, named):
  with pytest.raises(ValueError, match=named):
    optim.make_optimizer(OptimConfig(**fields), 10)


def test_an_unknown_stage_is_named():
  with pytest.raises(ValueError, match="layer9"):
    _frozen("layer9")


RATES = (("encoder/layer4", 0.25), ("encoder/.*kernel", 0.0), (".*bias", 3.0))


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_factors_scale_the_update_exactly(optimizer):
  cfg = OptimConfig(optimizer=optimizer, weight_decay=0.1, learning_rate=0.5)
  params = _params()
  gradients = jax.tree.map(lambda x: 0.3 * x, params)
  plain = _updates(optim.make_optimizer(cfg, 10), params, gradients, 3)
  scaled = _updates(optim.make_optimizer(cfg, 10, RATES), params, gradients, 3)
  expected = {  # the first pattern that fits, by hand
    "encoder": {
      **{name: {"kernel": 0, "bias": 3} for name in ("conv1", "bn1")},
      "layer1_0": {"conv1": {"kernel": 0, "bias": 3}},
      "layer3_5": {"conv1": {"kernel": 0, "bias": 3}},
      "layer4_0": {"conv1": {"kernel": 0.25, "bias": 0.25}},
    },
    "kernel_generator_32": {"layer1_0": {"kernel": 1, "bias": 3}},
  }
  assert optim.factors(params, RATES) == expected
  jax.tree.map(
    lambda s, p, f: np.testing.assert_array_equal(s, f * p), scaled, plain, expected
  )
  assert all(x.any() for x in jax.tree.leaves(plain))


def test_the_configuration_freezes_first():
  cfg = Config(
    model=ModelConfig(freeze_until="layer1"),
    optim=OptimConfig(rates=(("encoder/", 0.5), ("", 2))),
  )
  found = optim.factors(_params(), rates(cfg))["encoder"]
  kernels = [found[name]["kernel"] for name in ("conv1", "bn1")]
  kernels += [found[f"layer{name}"]["conv1"]["kernel"] for name in ("1_0", "3_5")]
  assert kernels == [0, 0, 0, 0.5]


@pytest.mark.parametrize("pattern", ["decoder", "encoder/layer9", "encoder/conv1"])
def test_patterns_without_effect_are_named_with_the_groups_there_are(pattern):
  rates = (("encoder/", 0.5), (pattern, 0.1))
  with pytest.raises(ValueError, match=f"'{pattern}' .*encoder/bn1, .*kernel_gen"):
    optim.make_optimizer(OptimConfig(rates=rates), 10).init(_params())


def test_rates_fall_from_the_last_stage_in_use_to_the_first_that_learns():
  model = ModelConfig(
    encoder="efficientnet_lite0", strides=(16,), freeze_until="stage2"
  )
  found = config.layer_rates(model, 0.5)
  cfg = Config(model=model, optim=OptimConfig(rates=found))
  names = ("stage1_0", "stage3_1", "stage4_2", "stage5_0")
  params = {
    "encoder": {name: {"conv": jnp.zeros(1)} for name in names},
    "head": jnp.zeros(1),
  }
  factors = optim.factors(params, rates(cfg))
  expected = dict(zip(names, (0.0, 0.125, 0.25, 0.5)))
  assert {n: x["conv"] for n, x in factors["encoder"].items()} == expected
  assert factors["head"] == 1.0
