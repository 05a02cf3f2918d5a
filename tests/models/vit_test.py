"""Vision transformers against those of `transformers`, with the same random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax import config as configs
from fskd_jax.config import Config, LossConfig, ModelConfig, PyramidConfig
from fskd_jax.config.encoders import ENCODERS, layer_rates
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.pretrained import load_pretrained
from fskd_jax.models import vit
from fskd_jax.models.build import make_model
from fskd_jax.models.detector import init_variables
from fskd_jax.models.encoder import BUILDERS, build_encoder
from fskd_jax.models.vit import SIZES, resize_to_patches
from fskd_jax.training.optim import factors

TINY = {
  "dinov2_vits14": vit.Size(32, 2, 2),
  "dinov2_vits14_reg": vit.Size(32, 2, 2, registers=4, antialias=True),
  "dinov3_vits16": vit.Size(32, 2, 2, registers=4, is_rotary=True),
}
GRID = 3, 5


@pytest.fixture(params=TINY)
def name(request, monkeypatch):
  """The name of an encoder, which is tiny while the test runs."""
  monkeypatch.setitem(SIZES, request.param, TINY[request.param])
  return request.param


def _config(name, **options):
  return ModelConfig(encoder=name, strides=(16,), freeze_until="", **options)


def _images():
  sides = (2, *(16 * side for side in GRID), 3)
  return np.random.default_rng(0).normal(size=sides).astype(np.float32)


def _variables(config):
  return seeded_variables(build_encoder(config, 32).init, _images(), train=False)


def _original(name):
  """Returns the network of `transformers`, with live values everywhere."""
  torch = pytest.importorskip("torch", reason="compares with PyTorch")
  transformers = pytest.importorskip(
    "transformers", reason="compares with transformers: pip install transformers"
  )
  size = TINY[name]
  common = dict(
    hidden_size=size.width,
    num_hidden_layers=size.depth,
    num_attention_heads=size.heads,
    patch_size=size.patch,
  )
  if size.is_rotary:
    kind, more = "DINOv3ViT", dict(intermediate_size=128, num_register_tokens=4)
  elif size.registers:
    kind, more = "Dinov2WithRegisters", dict(image_size=518, num_register_tokens=4)
  else:
    kind, more = "Dinov2", dict(image_size=518)
  settings = getattr(transformers, f"{kind}Config")(**common, **more)
  network = getattr(transformers, f"{kind}Model")(settings).eval()
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in network.parameters():
      parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
  return torch, network


@pytest.mark.torch
def test_maps_are_those_of_transformers_with_the_same_weights(name):
  torch, network = _original(name)
  config = _config(name)
  tensors = {key: x.numpy() for key, x in network.state_dict().items()}
  shapes = {"params": {"encoder": _variables(config)["params"]}}
  loaded, unused = load_pretrained(tensors, shapes, config)
  assert unused == ["mask_token"]
  images = _images()
  resized = resize_to_patches(jnp.asarray(images), TINY[name].patch)
  assert resized.shape[1:3] == tuple(TINY[name].patch * side for side in GRID)
  with torch.no_grad():
    theirs = network(
      torch.tensor(np.asarray(resized)).permute(0, 3, 1, 2), output_hidden_states=True
    )
  apply = functools.partial(
    build_encoder(config, 32).apply, train=False, capture_intermediates=True
  )
  (ours,), state = jax.jit(apply)({"params": loaded["params"]["encoder"]}, images)
  cells = theirs.last_hidden_state[:, 1 + TINY[name].registers :].numpy()
  _close(ours.reshape(cells.shape), cells)
  for number in range(TINY[name].depth):
    (block,) = state["intermediates"][f"block{number}"]["__call__"]
    _close(block, theirs.hidden_states[number + 1].numpy())


def _close(ours, theirs):
  assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_names_of_meta_both_ways(name):
  config = _config(name)
  variables = _variables(config)
  table = entries.make_table(variables, NAMES[name].published(config))
  tensors = entries.write(variables, table)
  assert tensors["blocks.1.attn.qkv.weight"].shape == (96, 32)
  assert tensors["cls_token"].shape == (1, 1, 32)
  assert {key.split(".")[0] for key in tensors} == {
    "cls_token", "patch_embed", "blocks", "norm",
    *([] if "dinov3" in name else ["pos_embed"]),
    *{"dinov2_vits14_reg": ["register_tokens"], "dinov3_vits16": ["storage_tokens"]}
    .get(name, []),
  }  # fmt: skip
  published = tensors | {"mask_token": np.zeros((1, 32), np.float32)}
  if "dinov3" in name:  # as Meta's files have it
    mask = np.repeat([1.0, 0.0, 1.0], 32).astype(np.float32)
    masks = {f"blocks.{i}.attn.qkv.bias_mask": mask for i in range(2)}
    published |= masks | {"rope_embed.periods": np.ones(4, np.float32)}
  shapes = {"params": {"encoder": variables["params"]}}
  loaded, _ = load_pretrained(published, shapes, config)
  if "dinov3" in name:
    for block in ("block0", "block1"):
      bias = np.array(variables["params"][block]["attention"]["bias"])
      bias[32:64] = 0
      variables["params"][block]["attention"]["bias"] = bias
  jax.tree.map(
    np.testing.assert_array_equal, loaded["params"]["encoder"], variables["params"]
  )


def test_older_names_of_transformers_are_translated():
  tensors = {
    f"encoder.layer.0.attention.attention.{part}.bias": np.full(2, i, np.float32)
    for i, part in enumerate(("query", "key", "value"))
  }
  tensors["dinov2.embeddings.cls_token"] = np.zeros((1, 1, 2), np.float32)
  tensors["encoder.layer.0.attention.output.dense.bias"] = np.zeros(2, np.float32)
  found = NAMES["dinov2_vits14"].translated(tensors, _config("dinov2_vits14"))
  assert {*found} == {"cls_token", "blocks.0.attn.proj.bias", "blocks.0.attn.qkv.bias"}
  np.testing.assert_array_equal(found["blocks.0.attn.qkv.bias"], [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("key", [k for k in SIZES if k.startswith("dino")])
def test_tables_know_the_same_depth(key):
  stages = [*ENCODERS[key].stages]
  assert stages == [
    "embeddings", *(f"block{i}" for i in range(SIZES[key].depth)), "norm"
  ]  # fmt: skip
  assert key in BUILDERS


def test_a_pyramid_has_all_strides_and_frozen_maps_beside(name):
  side, strides = 64, (4, 8, 16, 32)
  model = ModelConfig(
    encoder=name,
    strides=strides,
    freeze_until="norm",
    batch_norm="frozen",
    pyramid=PyramidConfig(width=8, inputs=strides, beside=(16,)),
  )
  images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
  encoder = build_encoder(model, side)
  variables = seeded_variables(encoder.init, images, train=False)
  maps = jax.jit(functools.partial(encoder.apply, train=False))(variables, images)
  assert [x.shape for x in maps] == [
    (1, side // stride, side // stride, 32 + 8) for stride in strides
  ]
  backbone = build_encoder(_config(name), side)
  own = {"params": variables["params"]["backbone"]}
  (plain,) = jax.jit(functools.partial(backbone.apply, train=False))(own, images)
  plain = np.asarray(plain)
  plain = plain - plain.mean((1, 2), keepdims=True)
  plain /= np.linalg.norm(plain, axis=-1, keepdims=True)
  np.testing.assert_allclose(maps[2][..., :32], plain, atol=1e-5)
  lengths = np.linalg.norm(maps[0][..., 32:], axis=-1)
  np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_rates_fall_towards_the_image(monkeypatch):
  monkeypatch.setitem(SIZES, "dinov2_vits14", TINY["dinov2_vits14"])
  blocks = dict.fromkeys(("embeddings", "block0", "block1", "norm"))
  spec = ENCODERS["dinov2_vits14"]._replace(stages={name: name for name in blocks})
  monkeypatch.setitem(ENCODERS, "dinov2_vits14", spec)
  model = _config(
    "dinov2_vits14",
    kernel_sizes=(1,),
    heatmap_upsampling="none",
    compute_dtype="float32",
  )
  cfg = Config(model=model, loss=LossConfig(mfcl_weight=0.0))
  cfg.data.base, cfg.data.image_size = ("nose",), 32
  cfg.optim.rates = layer_rates(model, 0.5)
  configs.validate(cfg)
  params = jax.eval_shape(lambda: init_variables(make_model(cfg), seed=0))["params"]
  found = factors(params, configs.rates(cfg))
  encoder = found.pop("encoder")
  assert {*jax.tree.leaves(found)} == {1.0}
  assert {name: {*jax.tree.leaves(tree)} for name, tree in encoder.items()} == {
    "norm": {0.5}, "block1": {0.25}, "block0": {0.125}, "embeddings": {0.0625}
  }  # fmt: skip


def test_attention_in_blocks_is_that_of_jax():
  rng = np.random.default_rng(0)
  vectors = rng.normal(size=(3, 2, 300, 2, 4)).astype(np.float32)  # two blocks

  def both(function):
    def loss(*vectors):
      return jnp.sin(function(*vectors)).sum()

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*vectors)

  found, expected = both(vit.attend), both(jax.nn.dot_product_attention)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected
  )
