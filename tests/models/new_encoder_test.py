"""A new encoder is a module, a row and a table of names; or an object of one's own."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax import config
from fskd_jax.config import Config, LossConfig, ModelConfig, OptimConfig
from fskd_jax.config.encoders import ENCODERS, EncoderSpec
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.interop import state_dicts
from fskd_jax.interop.encoder_names import NAMES, EncoderNames
from fskd_jax.interop.pretrained import load_pretrained
from fskd_jax.interop.stages import order, run_stages, seeded_episode
from fskd_jax.models.build import make_model
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.models.encoder import BUILDERS, normalize_images
from fskd_jax.training import optim
from fskd_jax.training import state as train_state

SIDE = 16


class ToyEncoder(nn.Module):
  """Patches, then one layer; a map at stride 4."""

  width: int = 6

  @nn.compact
  def __call__(self, images, *, train):
    del train
    x = nn.relu(nn.Conv(self.width, (4, 4), (4, 4), name="patches")(images))
    return (nn.tanh(nn.Conv(self.width, (1, 1), name="mixer")(x)),)


SPEC = EncoderSpec(
  strides=lambda model: (4,),
  multiple=lambda model: 4,
  stages={"patches": "patches", "mixer": "mixer"},
  mean=(0.5, 0.5, 0.5),
  std=(0.5, 0.5, 0.5),
)
PUBLISHED = {"patches": "stem.0", "mixer": "blocks.0"}


@pytest.fixture
def toy(monkeypatch):
  """Registers the toy; returns a configuration that names it."""
  monkeypatch.setitem(ENCODERS, "toy", SPEC)
  monkeypatch.setitem(BUILDERS, "toy", lambda model, **common: ToyEncoder())
  names = EncoderNames(lambda model: PUBLISHED, unused=("classifier.",))
  monkeypatch.setitem(NAMES, "toy", names)
  model = ModelConfig(
    encoder="toy",
    strides=(4,),
    freeze_until="patches",
    kernel_sizes=(1,),
    heatmap_upsampling="none",
  )
  cfg = Config(model=model, loss=LossConfig(mfcl_weight=0.0))
  cfg.data.base, cfg.data.image_size = ("nose",), SIDE
  config.validate(cfg)
  return cfg


def test_the_tables_know_the_same_encoders():
  assert ENCODERS.keys() == BUILDERS.keys() == NAMES.keys()


def _step(detector, cfg, variables):
  tx = optim.make_optimizer(OptimConfig(learning_rate=0.1), 10, config.rates(cfg))
  step = functools.partial(
    few_shot_step.train_step,
    detector=detector,
    tx=tx,
    loss=cfg.loss,
    rates=config.rates(cfg),
    seed=0,
    rotate_support=False,
  )
  state = train_state.init_state(variables, tx)
  return jax.jit(step)(state, seeded_episode(SIDE))


def _moved(before, after):
  both = jax.device_get((before, after))
  changed = jax.tree.map(lambda a, b: bool((a != b).any()), *both)
  return {name for name, tree in changed.items() if all(jax.tree.leaves(tree))}


@pytest.mark.slow
def test_a_row_is_all_that_a_new_encoder_needs(toy):
  detector = make_model(toy)
  variables = init_variables(detector, seed=0)
  state, metrics = _step(detector, toy, variables)
  assert np.isfinite(metrics["loss"])
  encoder = state.params["encoder"]
  assert _moved(variables["params"]["encoder"], encoder) == {"mixer"}
  # Export and import, by the names of the table.
  trained = {"params": state.params, "batch_stats": state.batch_stats}
  tensors = state_dicts.state_dict(trained, toy)
  assert "encoder.stem.0.weight" in tensors and "encoder.blocks.0.bias" in tensors
  again = state_dicts.load_state_dict(tensors, toy)
  jax.tree.map(np.testing.assert_array_equal, again["params"], trained["params"])
  # Weights of the encoder alone, as somebody published them.
  published = {
    name.removeprefix("encoder."): x
    for name, x in tensors.items()
    if name.startswith("encoder.")
  }
  published["classifier.bias"] = np.zeros(10, np.float32)
  loaded, unused = load_pretrained(published, variables, toy.model)
  assert unused == ["classifier.bias"]
  jax.tree.map(np.testing.assert_array_equal, loaded["params"]["encoder"], encoder)
  # Stages by name, for `fskd compare`; images normalised as the row says.
  stages = run_stages(detector, trained, seeded_episode(SIDE))
  assert [n for n in order(toy.model) if n in stages] == [
    *("encoder patches", "encoder mixer"),
  ]
  images = seeded_episode(SIDE).support.images[0].astype(np.float32) / 127.5 - 1
  both = np.concatenate([images, seeded_episode(SIDE).query.images[0] / 127.5 - 1])
  expected = ToyEncoder().apply({"params": encoder}, jnp.asarray(both), train=False)
  np.testing.assert_allclose(stages["encoder map, stride 4"], expected[0], atol=1e-5)


@pytest.mark.slow
def test_an_encoder_of_ones_own_needs_no_row():
  model = ModelConfig(
    strides=(4,), freeze_until="", kernel_sizes=(1,), heatmap_upsampling="none"
  )
  cfg = Config(model=model, loss=LossConfig(mfcl_weight=0.0))
  detector = FewShotDetector(model, SIDE, own_encoder=ToyEncoder(width=5))
  variables = init_variables(detector, seed=0)
  assert variables["params"].keys() == {"encoder", "kernel_generator_4"}
  state, metrics = _step(detector, cfg, variables)
  assert np.isfinite(metrics["loss"])
  assert _moved(variables["params"], state.params) == variables["params"].keys()
  images = seeded_episode(SIDE).query.images
  (expected,) = ToyEncoder(width=5).apply(
    {"params": state.params["encoder"]}, normalize_images(images[0]), train=False
  )
  output = detector.apply({"params": state.params}, seeded_episode(SIDE), train=False)
  np.testing.assert_allclose(output.features[:, 1], expected, atol=1e-5)


def test_maps_of_another_stride_are_refused():
  detector = FewShotDetector(ModelConfig(strides=(8,)), SIDE, own_encoder=ToyEncoder())
  with pytest.raises(ValueError, match=r"expected the sides \[2\] for .* \(8,\)"):
    init_variables(detector, seed=0)
