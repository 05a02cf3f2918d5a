"""TransPose: size and cost of the published models, free resolutions, training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import ModelConfig, TransformerConfig
from fskd_jax.models import cost, hrnet
from fskd_jax.models.transpose import (
  VARIANTS,
  Deconvolution,
  TransPose,
  attention_maps,
  init_variables,
)

pytestmark = pytest.mark.slow

SIZE = (256, 192)
TINY = ModelConfig(
  encoder="small",
  strides=(8,),
  small_widths=(4, 4, 4),
  transformer=TransformerConfig(layers=2, width=8, hidden=8, heads=2),
  freeze_until="",
)


@pytest.mark.parametrize(
  "variant, parameters, giga",
  [
    ("tp_r_a3", 5_195_345, (1.891, 0.805, 1.208, 0.604, 0.906)),
    ("tp_r_a4", 5_985_105, (1.891, 0.805, 1.611, 0.805, 1.208)),
    ("tp_h_s", 8_019_281, (4.694, 0, 0.201, 0.201, 4.832)),
    ("tp_h_a4", 17_306_129, (9.052, 0, 0.453, 0.453, 7.248)),
    ("tp_h_a6", 17_455_697, (9.052, 0, 0.680, 0.680, 10.872)),
  ],
)
def test_size_and_cost_of_the_published_models(variant, parameters, giga):
  """Counts of docs/transpose.md#size-and-cost."""
  model = TransPose(VARIANTS[variant], SIZE, 17)
  assert cost.published_parameters(model) == parameters
  counted = cost.multiply_adds(model).values()
  np.testing.assert_allclose(np.array([*counted]) / 1e9, giga, atol=1e-3)


@pytest.mark.parametrize(
  "variant, blocks, parameters",
  [
    ("tp_r_a3", 10, 6_875_729),
    ("tp_r_a3", 11, 7_155_793),
    ("tp_r_a4", 10, 7_665_489),
    ("tp_r_a4", 11, 7_945_553),
  ],
)
def test_deeper_backbone_of_the_supplement(variant, blocks, parameters):
  """ResNet-S*; taken literally, its layer2 has 11 blocks."""
  config = dataclasses.replace(VARIANTS[variant], resnet_blocks=(3, blocks))
  assert cost.published_parameters(TransPose(config, SIZE, 17)) == parameters


def _heatmap_shape(config, made_for, size):
  model = TransPose(config, made_for, 15)
  variables = jax.eval_shape(lambda: init_variables(model, 0))
  images = jax.ShapeDtypeStruct((2, *size, 3), jnp.uint8)
  return jax.eval_shape(functools.partial(model.apply, train=False), variables, images)


@pytest.mark.parametrize(
  "config, size",
  [
    (VARIANTS["tp_r_a3"], (40, 24)),
    (VARIANTS["tp_h_s"], (32, 48)),
    (dataclasses.replace(VARIANTS["tp_r_a3"], strides=(16,)), (64, 32)),
    (dataclasses.replace(TINY, compute_dtype="bfloat16"), (24, 16)),
  ],
)
def test_heatmaps_of_any_size_have_stride_4(config, size):
  found = _heatmap_shape(config, SIZE, size)
  assert found.shape == (2, 15, size[0] // 4, size[1] // 4)
  assert found.dtype == jnp.float32


@pytest.mark.parametrize(
  "config, made_for, size, message",
  [
    (VARIANTS["tp_r_a3"], SIZE, (44, 24), r"got 44 x 24 .*, expected multiples of 8"),
    (VARIANTS["tp_h_s"], SIZE, (32, 24), "expected multiples of 16"),
    (VARIANTS["tp_h_s"], (40, 32), SIZE, r"got \(40, 32\), expected a multiple of 16"),
    (ModelConfig(strides=(8,)), SIZE, SIZE, "TransPose needs at least 1"),
    (dataclasses.replace(TINY, strides=(8, 16), small_widths=(4,) * 4), SIZE, SIZE,
     "the transformer works on one feature map"),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_named(config, made_for, size, message):
  with pytest.raises(ValueError, match=message):
    _heatmap_shape(config, made_for, size)


def test_deconvolution_by_its_definition():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 3, 2, 5)).astype(np.float32)
  kernel = rng.standard_normal((4, 4, 6, 5)).astype(np.float32)
  expected = np.zeros((2, 10, 8, 6))  # with a border of 2
  for row, column, i, j in np.ndindex(3, 2, 4, 4):
    spread = x[:, row, column] @ kernel[i, j].T
    expected[:, 1 + 2 * row + i, 1 + 2 * column + j] += spread
  found = Deconvolution(6).apply({"params": {"kernel": kernel}}, x)
  np.testing.assert_allclose(found, expected[:, 2:-2, 2:-2], atol=1e-5)


def test_maps_are_those_of_the_last_call_and_learned_positions_are_resized():
  transformer = dataclasses.replace(TINY.transformer, position="learnable")
  model = TransPose(dataclasses.replace(TINY, transformer=transformer), (32, 24), 3)
  blank = np.zeros((1, 32, 24, 3), np.uint8)
  variables = seeded_variables(model.init, blank, train=False)
  assert variables["params"]["encoder"]["transformer"]["position"].shape == (12, 8)
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), np.uint8)
  heatmaps, maps = jax.jit(functools.partial(attention_maps, model))(variables, images)
  assert maps.shape == (2, 2, 2, 8, 8) and heatmaps.shape == (2, 3, 4, 8)
  np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
  expected = jax.jit(functools.partial(model.apply, train=False))(variables, images)
  np.testing.assert_allclose(heatmaps, expected, atol=1e-6)


def test_training_reaches_everything_and_drops_by_the_key(monkeypatch):
  monkeypatch.setattr(hrnet, "NUM_BLOCKS", 1)
  monkeypatch.setattr(hrnet, "STAGES", {"stage2": (2, 1), "stage3": (3, 1)})
  config = dataclasses.replace(TINY, encoder="hrnet", strides=(4,), hrnet_width=4)
  model = TransPose(config, (32, 32), 3)
  images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
  variables = seeded_variables(model.init, images, train=False)

  @jax.jit
  def run(params, key):
    def loss(params):
      heatmaps, updates = model.apply(
        {"params": params, "batch_stats": variables["batch_stats"]},
        images,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": key},
      )
      return ((heatmaps - 1) ** 2).mean(), updates["batch_stats"]

    return jax.value_and_grad(loss, has_aux=True)(params)

  variables = jax.device_get(variables)
  (loss, stats), gradients = jax.device_get(run(variables["params"], jax.random.key(0)))
  again, other = (run(variables["params"], jax.random.key(i))[0][0] for i in (0, 1))
  assert loss == again and loss != other
  for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
    assert np.abs(gradient).max() > 0, path
  before, after = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(stats)
  assert all((x != y).any() for x, y in zip(before, after, strict=True))
