"""Encoders of TransPose in the few-shot detector: training, batch norm, freezing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import LossConfig, ModelConfig, OptimConfig, TransformerConfig
from fskd_jax.config.encoders import frozen
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.interop.stages import seeded_episode
from fskd_jax.models import hrnet, resnet
from fskd_jax.models.attention_encoder import TransPoseEncoder
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.encoder import build_encoder
from fskd_jax.models.hrnet import HRNetS
from fskd_jax.training import optim
from fskd_jax.training import state as train_state

TRANSFORMER = TransformerConfig(layers=1, width=8, hidden=8, heads=2)


def _config(**options):
  options = {"strides": (8,), "transformer": TRANSFORMER} | options
  return ModelConfig(kernel_sizes=(1,), heatmap_upsampling="none", **options)


@pytest.mark.slow
def test_a_step_of_the_detector_moves_all_that_is_not_frozen(monkeypatch):
  narrow = {"layer1": (4, 4), "layer2": (8, 8)}
  monkeypatch.setattr(resnet, "STAGES", narrow)
  config = _config(resnet_blocks=(1, 1), freeze_until="layer1")
  detector, batch = FewShotDetector(config, 32), seeded_episode(32)
  variables = seeded_variables(detector.init, batch, train=False)
  rates = frozen(config)
  tx = optim.make_optimizer(OptimConfig(learning_rate=0.1), 10, rates)
  step = jax.jit(
    functools.partial(
      few_shot_step.train_step,
      detector=detector,
      tx=tx,
      rates=rates,
      loss=LossConfig(mfcl_weight=0.0),
      seed=0,
      rotate_support=False,
    )
  )
  state, metrics = step(train_state.init_state(variables, tx), batch)
  assert np.isfinite(metrics["loss"])
  still = ("bn1", "conv1", "layer1_0")
  both = jax.device_get((state.params, variables["params"]))
  moved = jax.tree.map(lambda x, y: (x != y).any(), *both)
  for path, has_moved in jax.tree_util.tree_leaves_with_path(moved):
    names = [key.key for key in path]
    is_frozen = names[1] == "backbone" and names[2] in still
    assert has_moved != is_frozen, names
  recorded = jax.tree.map(
    lambda x, y: (x != y).all(), state.batch_stats, variables["batch_stats"]
  )
  assert all(jax.tree.leaves(recorded))


@pytest.mark.slow
def test_synchronised_batch_norm_sees_the_whole_batch(monkeypatch):
  monkeypatch.setattr(hrnet, "NUM_BLOCKS", 1)
  monkeypatch.setattr(hrnet, "STAGES", {"stage2": (2, 1), "stage3": (3, 1)})
  whole, split = (HRNetS(width=4, axis_name=name) for name in (None, "data"))
  images = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  images += jnp.arange(4.0).reshape(4, 1, 1, 1)
  variables = seeded_variables(whole.init, images, train=False)

  def run(encoder, images):
    return encoder.apply(variables, images, train=True, mutable=["batch_stats"])

  expected, statistics = jax.jit(functools.partial(run, whole))(images)
  shards = images.reshape(2, 2, 16, 16, 3)
  found = jax.jit(jax.vmap(functools.partial(run, split), axis_name="data"))(shards)
  np.testing.assert_allclose(
    found[0][0].reshape(expected[0].shape), expected[0], atol=1e-3
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x[0], y, rtol=1e-4, atol=1e-5),
    found[1],
    statistics,
  )


def test_the_configuration_reaches_the_parts():
  config = _config(
    strides=(16,), freeze_until="", batch_norm_momentum=0.7, compute_dtype="bfloat16"
  )
  encoder = build_encoder(config, (64, 32), "data")
  assert isinstance(encoder, TransPoseEncoder) and encoder.grid == (4, 2)
  assert encoder.backbone.momentum == 0.7 and encoder.backbone.axis_name == "data"
  images = jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32)
  init = functools.partial(encoder.init_with_output, train=False)
  (maps,), variables = jax.eval_shape(init, jax.random.key(0), images)
  assert maps.shape == (1, 4, 2, 8) and maps.dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
