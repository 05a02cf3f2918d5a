"""The feature pyramid: its maps, what stays frozen, and names with it."""

import functools
import io
import json
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables
from jax import export

from fskd_jax import config
from fskd_jax.config import Config, LossConfig, ModelConfig, OptimConfig, PyramidConfig
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.heatmaps.prior import Places
from fskd_jax.interop import stablehlo, state_dicts, weights
from fskd_jax.interop.pretrained import load_pretrained
from fskd_jax.interop.stages import seeded_episode
from fskd_jax.models.build import make_model
from fskd_jax.models.detector import init_variables
from fskd_jax.models.encoder import build_encoder, normalize_for
from fskd_jax.models.pyramid import PyramidEncoder, unit_length
from fskd_jax.models.upsample import resize_bilinear
from fskd_jax.training import optim, runs
from fskd_jax.training import state as train_state

SIDE = 32
FROZEN = dict(freeze_until="stage5", batch_norm="frozen")


def _model(strides=(8,), **options):
  pyramid = dict(width=6, inputs=(8, 16), beside=(8, 16)) | options.pop("pyramid", {})
  return ModelConfig(
    encoder=options.pop("encoder", "efficientnet_lite0"),
    strides=strides,
    kernel_sizes=(1,),
    similarity="cosine",
    heatmap_upsampling="none",
    pyramid=PyramidConfig(**pyramid),
    **(FROZEN | options),
  )


class Steps(nn.Module):
  """Backbone without parameters: means over the cells of every stride."""

  strides: tuple[int, ...]

  def __call__(self, images, *, train):
    del train
    pool = lambda s: nn.avg_pool(images, (s, s), strides=(s, s))
    return tuple(pool(stride) for stride in self.strides)


class StepsAndSquares(Steps):
  """The same, and squares of the finest as the inner channels of a block."""

  def __call__(self, images, *, train):
    maps = super().__call__(images, train=train)
    return *maps, jnp.square(maps[0])


def _pyramid(strides, inputs, beside=(), **more):
  sizes = PyramidConfig(width=5, inputs=inputs, beside=beside, **more)
  used = tuple(sorted({*inputs, *beside}))
  steps = StepsAndSquares if sizes.inner else Steps
  return PyramidEncoder(steps(used), sizes, inputs=used, strides=strides)


@pytest.mark.slow
def test_maps_have_the_strides_and_widths_asked_for():
  images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
  network = _pyramid((4, 8), (4, 8, 16), beside=(8,))
  variables = seeded_variables(network.init, images, train=False)
  apply = jax.jit(functools.partial(network.apply, train=False))
  fine, coarse = apply(variables, images)
  assert fine.shape == (2, 8, 8, 3 + 5) and coarse.shape == (2, 4, 4, 3 + 5)
  own = nn.avg_pool(images, (8, 8), strides=(8, 8))
  own = own - own.mean((1, 2), keepdims=True)
  own = own / np.linalg.norm(own, axis=-1, keepdims=True)
  np.testing.assert_allclose(coarse[..., :3], own, atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(coarse[..., 3:], axis=-1), 1, atol=1e-5)
  assert variables["params"].keys() == {
    *("lateral_4", "lateral_8", "lateral_16", "output_4", "output_8")
  }


@pytest.mark.slow
def test_frozen_maps_stand_in_order_with_their_weights():
  images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
  more = dict(beside=(16,), inner=("stage3_1",), weights=(3.0, 0.5))
  network = _pyramid((8,), (8, 16), **more)
  variables = seeded_variables(network.init, images, train=False)
  (joined,) = jax.jit(functools.partial(network.apply, train=False))(variables, images)
  coarse, inner, learned = np.split(joined, (3, 6), axis=-1)
  own = np.square(nn.avg_pool(images, (8, 8), strides=(8, 8)))
  own = own - own.mean((1, 2), keepdims=True)
  own = 0.5 * own / np.linalg.norm(own, axis=-1, keepdims=True)
  np.testing.assert_allclose(inner, own, atol=1e-5)
  own = nn.avg_pool(images, (16, 16), strides=(16, 16))
  own = own - own.mean((1, 2), keepdims=True)
  own = 3 * own / np.linalg.norm(own, axis=-1, keepdims=True)
  np.testing.assert_allclose(coarse, resize_bilinear(own, 4, axes=(1, 2)), atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(learned, axis=-1), 1, atol=1e-5)


def test_inner_channels_of_a_configured_encoder_reach_the_head():
  """Six times the 40 channels of stage 3, beside 112 of stage 5 and 6 learned ones."""
  network = build_encoder(_model(pyramid=dict(beside=(16,), inner=("stage3_1",))), SIDE)
  images = np.zeros((1, SIDE, SIDE, 3), np.float32)
  made = functools.partial(network.init_with_output, train=False)
  (joined,), _ = jax.eval_shape(made, jax.random.key(0), images)
  assert joined.shape == (1, 4, 4, 112 + 240 + 6)


def test_coarse_maps_reach_fine_ones():
  rng = np.random.default_rng(0)
  images = rng.normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
  network = _pyramid((8,), (8, 32))
  variables = seeded_variables(network.init, images, train=False)
  apply = jax.jit(functools.partial(network.apply, train=False))
  before = apply(variables, images)[0]
  # Far from the first cell: only the coarse map, one cell for the image, knows of it.
  images[:, 16:, 16:] += 3 * rng.normal(size=(16, 16, 3)).astype(np.float32)
  moved = np.abs(apply(variables, images)[0] - before)[0, 0, 0]
  assert moved.max() > 1e-3


def test_zero_vectors_stay_so_and_have_a_gradient():
  x = jnp.zeros((2, 3)).at[0].set(jnp.array([3.0, 0, 4]))
  np.testing.assert_allclose(unit_length(x), [[0.6, 0, 0.8], [0, 0, 0]], atol=1e-6)
  assert np.isfinite(jax.grad(lambda x: unit_length(x).sum())(x)).all()


def _config(**options):
  cfg = Config(model=_model(**options), loss=LossConfig(mfcl_weight=0.0))
  cfg.data.base, cfg.data.image_size = ("nose",), SIDE
  cfg.optim = OptimConfig(learning_rate=0.1)
  config.validate(cfg)
  return cfg


@pytest.fixture(scope="module")
def detector():
  """Configuration, network and variables of a detector with frozen maps beside."""
  cfg = _config()
  network = make_model(cfg)
  blank = seeded_episode(SIDE)
  return cfg, network, seeded_variables(network.init, blank, train=False)


@pytest.mark.slow
def test_a_step_moves_the_pyramid_and_no_encoder(detector):
  cfg, network, variables = detector
  rates = config.rates(cfg)
  tx = optim.make_optimizer(cfg.optim, 10, rates)
  step = functools.partial(
    few_shot_step.train_step,
    detector=network,
    tx=tx,
    loss=cfg.loss,
    rates=rates,
    seed=0,
    rotate_support=True,
  )
  state = train_state.init_state(variables, tx)
  lowered = jax.jit(step).lower(state, seeded_episode(SIDE))
  # No gradient through the encoder: of a depthwise convolution, the one by the kernel
  # is the only loop in the program.
  assert "stablehlo.while" not in lowered.as_text()
  after, metrics = lowered.compile()(state, seeded_episode(SIDE))
  assert np.isfinite(metrics["loss"]) and metrics["gradient_norm"] > 0
  moved = lambda a, b: {
    name
    for name in a
    if any(map(np.any, jax.tree.leaves(jax.tree.map(np.not_equal, a[name], b[name]))))
  }
  before = variables["params"]["encoder"]
  assert moved(before, after.params["encoder"]) == {
    *("lateral_8", "lateral_16", "output_8")
  }
  stats = variables["batch_stats"]
  jax.tree.map(np.testing.assert_array_equal, stats, after.batch_stats)


@pytest.mark.slow
def test_frozen_maps_are_those_of_the_encoder_alone(detector):
  cfg, network, variables = detector
  images = seeded_episode(SIDE).query.images[0]
  plain = ModelConfig(encoder="efficientnet_lite0", strides=(8, 16), freeze_until="")
  own = {name: tree["encoder"]["backbone"] for name, tree in variables.items()}
  normal = normalize_for(plain, images)
  apply = functools.partial(build_encoder(plain, SIDE).apply, train=False)
  fine, _ = jax.jit(apply)(own, normal)
  output = jax.jit(functools.partial(network.apply, train=False))
  found = output(variables, seeded_episode(SIDE)).features[0, 1:]
  fine = fine - fine.mean((1, 2), keepdims=True)
  expected = fine / np.linalg.norm(fine, axis=-1, keepdims=True)
  np.testing.assert_allclose(found[..., :40], expected, atol=1e-5)
  assert found.shape[-1] == 40 + 112 + 6


@pytest.mark.slow
def test_names_and_published_weights_with_a_pyramid(detector):
  cfg, _, variables = detector
  tensors = state_dicts.state_dict(variables, cfg)
  assert "encoder._blocks.0._depthwise_conv.weight" in tensors
  assert tensors["encoder.lateral_16.weight"].shape == (6, 112, 1, 1)
  again = state_dicts.load_state_dict(tensors, cfg)
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  prefix = "encoder._"
  published = {
    name.removeprefix("encoder."): x + 1
    for name, x in tensors.items()
    if name.startswith(prefix)
  }
  loaded, unused = load_pretrained(published, variables, cfg.model)
  assert not unused
  for name, tree in loaded.items():
    drawn = jax.device_get(variables[name]["encoder"]["backbone"])
    expected = jax.tree.map(lambda x: x + 1, drawn)
    found = tree["encoder"]["backbone"]
    jax.tree.map(np.testing.assert_array_equal, found, expected)
  kept = loaded["params"]["encoder"]["lateral_8"]["kernel"]
  np.testing.assert_array_equal(
    kept, variables["params"]["encoder"]["lateral_8"]["kernel"]
  )


@pytest.mark.parametrize(
  "options, message",
  [
    ({"pyramid": {"inputs": (2, 8)}}, r"pyramid.inputs = \(2, 8\): .* offers"),
    ({"pyramid": {"beside": (64,)}}, r"pyramid.beside = \(64,\): .* offers"),
    ({"strides": (4,)}, r"model.strides = \(4,\): .*inputs = \(8, 16\)"),
    ({"freeze_until": "stage4"}, "model.freeze_until = 'stage5' or a later stage"),
    ({"freeze_until": ""}, "model.freeze_until = 'stage5' or a later stage"),
    ({"batch_norm": "running"}, "model.batch_norm = 'frozen'"),
    ({"pyramid": {"weights": (1.0,)}}, "weights = .*: expected 2 numbers"),
    ({"pyramid": {"inner": ("stage6_0",)}}, "inner = .*'stage6' or a later stage"),
    ({"pyramid": {"inner": ("layer1_0",)}}, "efficientnet_lite0 has no inner map"),
    (
      {"encoder": "resnet18", "pyramid": {"beside": (), "inner": ("layer1_0",)}},
      "resnet18 has no inner map 'layer1_0'",
    ),
  ],
)
def test_impossible_pyramids_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    build_encoder(_model(**options), SIDE)


@pytest.mark.parametrize("encoder", ["resnet50", "small"])
def test_other_encoders_take_a_pyramid(encoder):
  model = ModelConfig(
    encoder=encoder,
    strides=(8,),
    freeze_until="",
    resnet_blocks=(1, 1, 1, 1),
    pyramid=PyramidConfig(width=4, inputs=(8, 16)),
  )
  network = build_encoder(model, SIDE)
  images = np.zeros((1, SIDE, SIDE, 3), np.float32)
  init = functools.partial(network.init, jax.random.key(0), train=False)
  variables = jax.eval_shape(init, images)
  maps = jax.eval_shape(
    functools.partial(network.apply, train=False), variables, images
  )
  assert [x.shape for x in maps] == [(1, 4, 4, 4)]


@pytest.mark.slow
def test_half_precision_and_drawn_variables():
  cfg = _config(compute_dtype="bfloat16")
  variables = jax.eval_shape(lambda: init_variables(make_model(cfg), 0))
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))


@pytest.mark.slow
def test_files_that_others_load(detector, tmp_path):
  cfg, network, variables = detector
  # A file of `fskd export`, read without its run.
  tensors = state_dicts.state_dict(variables, cfg)
  about = {"config": json.dumps(config.to_dict(cfg))}
  for name, content in (("whole", tensors), ("half", weights.halved(tensors))):
    weights.write_weights(tmp_path / f"{name}.safetensors", content, about)
  loaded = runs.load_file(tmp_path / "whole.safetensors", None)
  assert loaded.config == cfg
  jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
  half = runs.load_file(tmp_path / "half.safetensors", None).variables
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2**-8), half, variables)
  # A program for JAX alone.
  path = tmp_path / "detector.zip"
  stablehlo.write_stablehlo(path, cfg, variables, stablehlo.Sizes(1, 1, 5), None)
  with zipfile.ZipFile(path) as file:
    stored = np.load(io.BytesIO(file.read("weights.npz")))
    encode, detect = (
      export.deserialize(bytearray(file.read(f"{name}.stablehlo")))
      for name in ("encode_support", "detect")
    )
  given, episode = dict(stored), seeded_episode(SIDE)
  kernels = encode.call(given, *episode.support.annotations())
  support, boxes = episode.support, np.ones((1, 1, 2), np.float32)
  places = Places(support.keypoints, support.visible, boxes, boxes)._asdict()
  found = detect.call(given, episode.query.images, kernels, places)
  apply = jax.jit(functools.partial(network.apply, train=False))
  expected = apply(variables, episode).heatmaps[0]
  np.testing.assert_allclose(found["heatmaps"], expected, atol=1e-5)
