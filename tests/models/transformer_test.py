"""The transformer beside plain NumPy, its positions, and attention in blocks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import TransformerConfig
from fskd_jax.models import transformer
from fskd_jax.models.transformer import (
  EncoderLayer,
  TransformerEncoder,
  attend,
  resize_embedding,
  sine_position_embedding,
)

CONFIG = TransformerConfig(layers=2, width=8, hidden=12, heads=2, dropout=0.5)
RNG = np.random.default_rng(0)


def test_sine_embedding_is_the_original_s():
  """Values of the official code (docs/transpose.md#position)."""
  found = sine_position_embedding(8, 6, 16)
  assert found.dtype == np.float32
  cells = found.reshape(8, 6, 16)
  for (row, column, channel), value in {
    (0, 0, 0): 0.7071067094802856,
    (0, 0, 1): 0.7071068286895752,
    (0, 0, 2): 0.07845908403396606,
    (0, 0, 8): 0.8660253286361694,
    (0, 0, 9): 0.5000000596046448,
    (3, 2, 5): 0.9995065331459045,
    (3, 2, 10): 0.3090169429779053,
    (3, 2, 11): 0.9510565400123596,
    (5, 4, 3): 0.8910065293312073,
    (2, 4, 12): 0.0523359514772892,
    (7, 5, 0): -7.788287e-07,
    (7, 5, 1): 1.0,
    (7, 5, 15): 0.9999802708625793,
  }.items():
    assert cells[row, column, channel] == pytest.approx(value, abs=2e-7)
  assert found.sum(dtype=float) == pytest.approx(317.40125510, abs=1e-5)
  assert np.abs(found).sum(dtype=float) == pytest.approx(435.05522844, abs=1e-5)


@pytest.mark.parametrize(
  "shape, token_100, total",
  [
    ((32, 24, 256), 0.6598640, 97138.919),
    ((64, 48, 96), 0.9799359, 144141.047),
    ((64, 48, 64), 0.9863158, 95282.715),
  ],
)
def test_sine_embeddings_of_the_published_models(shape, token_100, total):
  found = sine_position_embedding(*shape)
  assert found[100, 3] == pytest.approx(token_100, abs=1e-6)
  assert found.sum(dtype=float) == pytest.approx(total, abs=2e-3)


def test_sine_embedding_needs_pairs_along_two_axes():
  with pytest.raises(ValueError, match="got 18, expected a multiple of 4"):
    sine_position_embedding(4, 4, 18)


def test_resizing_keeps_corners_and_whatever_is_linear():
  rows, columns = np.mgrid[:3, :5].astype(np.float32)
  linear = np.stack([rows, 2 * columns + 1], -1).reshape(15, 2)
  found = resize_embedding(linear, (3, 5), (6, 3)).reshape(6, 3, 2)
  expected = np.meshgrid(np.linspace(0, 2, 6), 2 * np.linspace(0, 4, 3) + 1)
  np.testing.assert_allclose(found[..., 0], expected[0].T, atol=1e-6)
  np.testing.assert_allclose(found[..., 1], expected[1].T, atol=1e-6)
  np.testing.assert_allclose(resize_embedding(linear, (3, 5), (3, 5)), linear)


def _reference(params, x, position):
  """One layer of docs/transpose.md#layers, in float64."""
  p = jax.tree.map(np.float64, params)
  d, heads = x.shape[-1], CONFIG.heads
  w, b = p["attention"]["in_kernel"], p["attention"]["in_bias"]
  q = (x + position) @ w[:, :d] + b[:d]
  k = (x + position) @ w[:, d : 2 * d] + b[d : 2 * d]
  v = x @ w[:, 2 * d :] + b[2 * d :]
  read, maps = np.zeros_like(x), []
  for head in range(heads):
    part = slice(head * d // heads, (head + 1) * d // heads)
    scores = q[:, part] @ k[:, part].T / np.sqrt(d / heads)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    maps.append(weights / weights.sum(1, keepdims=True))
    read[:, part] = maps[-1] @ v[:, part]

  def dense(name, y, tree=p):
    return y @ tree[name]["kernel"] + tree[name]["bias"]

  def norm(name, y):
    y = y - y.mean(-1, keepdims=True)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5)
    return y * p[name]["scale"] + p[name]["bias"]

  x = norm("norm1", x + dense("out_projection", read, p["attention"]))
  x = norm("norm2", x + dense("linear2", np.maximum(dense("linear1", x), 0)))
  return x, np.stack(maps)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 3e-3])
def test_layer_is_plain_numpy(size):
  """With small tokens and weights, the epsilon of the norms counts."""
  tokens = size * RNG.standard_normal((2, 6, 8)).astype(np.float32)
  position = RNG.standard_normal((1, 6, 8)).astype(np.float32)
  layer = EncoderLayer(CONFIG)
  params = seeded_variables(layer.init, tokens, position, train=False)["params"]
  params = jax.tree.map(np.array, params)
  for name in "norm1", "norm2":
    params[name]["bias"] *= size
  params["norm1"]["scale"] *= size
  for tree in params["attention"]["out_projection"], params["linear2"]:
    tree["kernel"], tree["bias"] = size * tree["kernel"], size * tree["bias"]
  apply = functools.partial(layer.apply, train=False, mutable=["intermediates"])
  found, sown = jax.jit(apply)({"params": params}, tokens, position)
  (maps,) = sown["intermediates"]["attention"]["attention"]
  for t in range(2):
    expected, expected_maps = _reference(params, np.float64(tokens[t]), position[0])
    np.testing.assert_allclose(maps[t], expected_maps, atol=1e-6)
    np.testing.assert_allclose(found[t], expected, atol=2e-5)


def test_blocks_are_the_whole(monkeypatch):
  monkeypatch.setattr(transformer, "BLOCK", 4)
  q, k, v = RNG.standard_normal((3, 2, 3, 10, 5)).astype(np.float32)

  def plain(q, k, v):
    return jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v

  @functools.partial(jax.jit, static_argnums=0)
  def run(f, *args):
    return f(*args), jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1, 2))(*args)

  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5),
    run(attend, q, k, v),
    run(plain, q, k, v),
  )


def test_dropout_keeps_the_mean_and_differs_everywhere(monkeypatch):
  monkeypatch.setattr(transformer, "BLOCK", 4)
  zeros, values = jnp.zeros((1, 2, 8, 2)), jnp.ones((1, 2, 8, 2))
  draw = jax.vmap(lambda key: attend(zeros, zeros, values, 0.25, key))
  found = draw(jax.random.split(jax.random.key(0), 400))[:, 0, :, :, 0]
  found = found.reshape(400, 16)
  np.testing.assert_allclose(found.mean(0), 1, atol=0.07)
  # Heads and blocks are independent.
  assert abs(np.corrcoef(found.T) - np.eye(16)).max() < 0.25


def _encoder(**options):
  config = dataclasses.replace(CONFIG, **options)
  return TransformerEncoder(config, (2, 3))


def _apply(encoder, tokens, grid=(2, 3), **options):
  init = functools.partial(encoder.init, grid=(2, 3), train=False)
  variables = seeded_variables(init, jnp.zeros((1, 6, 8)))
  apply = functools.partial(encoder.apply, grid=grid, train=False, **options)
  return jax.jit(apply)(variables, tokens), variables


@pytest.mark.slow
def test_positions_are_all_that_tells_tokens_apart():
  tokens = jax.random.normal(jax.random.key(0), (2, 6, 8))
  order = np.array([3, 1, 5, 0, 2, 4])
  for kind, matters in ("none", False), ("sine", True), ("learnable", True):
    found, _ = _apply(_encoder(position=kind), tokens)
    moved, _ = _apply(_encoder(position=kind), tokens[:, order])
    assert np.allclose(found[:, order], moved, atol=1e-5) != matters


@pytest.mark.slow
def test_learnable_positions_fit_any_grid():
  tokens = jax.random.normal(jax.random.key(0), (1, 20, 8))
  found, variables = _apply(_encoder(position="learnable"), tokens, (5, 4))
  learned = variables["params"]["position"]
  assert learned.shape == (6, 8)
  large = TransformerEncoder(dataclasses.replace(CONFIG, position="learnable"), (5, 4))
  params = variables["params"] | {"position": resize_embedding(learned, (2, 3), (5, 4))}
  expected = large.apply({"params": params}, tokens, grid=(5, 4), train=False)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_grids_and_kinds_that_do_not_exist_are_named():
  tokens = jnp.zeros((1, 6, 8))
  with pytest.raises(ValueError, match=r"got 6, expected 8 of a grid \(4, 2\)"):
    _encoder().init(jax.random.key(0), tokens, grid=(4, 2), train=False)
  with pytest.raises(ValueError, match="got 'rope'"):
    _encoder(position="rope").init(jax.random.key(0), tokens, grid=(2, 3), train=False)


def test_precision_of_activations_and_attention():
  tokens = jnp.ones((1, 6, 8))
  encoder = TransformerEncoder(CONFIG, (2, 3), jnp.bfloat16)
  (found, sown), variables = _apply(encoder, tokens, mutable=["intermediates"])
  assert found.dtype == jnp.bfloat16
  (maps,) = sown["intermediates"]["layer1"]["attention"]["attention"]
  assert maps.dtype == jnp.float32 and maps.shape == (1, 2, 6, 6)
  np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-6)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
