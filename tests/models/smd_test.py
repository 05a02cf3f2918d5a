"""SMD against slow loops, XLA's convolution and the original's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from fskd_jax.models import smd
from fskd_jax.models.kernels import Kernels, materialize

PLAIN, COSINE = (
  jax.jit(functools.partial(smd.detect_keypoints, similarity=name, plain_scale=50.0))
  for name in ("plain", "cosine")
)


def _random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _correlate(query, kernels):
  return jax.jit(lambda *inputs: smd.correlate(*inputs))(query, kernels)


def _slow_correlate(query, kernels):
  b, m, h, w, _ = query.shape
  n, size = kernels.shape[1:3]
  maps = np.zeros((b, m, n, h, w))
  for at in np.ndindex(b, m, n, h, w, size, size):
    e, q, t, y, x, i, j = at
    row, column = y + i - size // 2, x + j - size // 2
    if 0 <= row < h and 0 <= column < w:
      maps[e, q, t, y, x] += np.dot(query[e, q, row, column], kernels[e, t, i, j])
  return maps


@pytest.mark.parametrize("size", [1, 3, 5])
def test_correlate_is_the_slow_loop(size):
  query, kernels = _random(2, 2, 4, 5, 3), _random(2, 3, size, size, 3, seed=1)
  expected = _slow_correlate(np.asarray(query), np.asarray(kernels))
  np.testing.assert_allclose(_correlate(query, kernels), expected, atol=1e-5)


def test_correlate_is_a_convolution_per_episode():
  query, kernels = _random(2, 3, 8, 8, 4), _random(2, 5, 3, 3, 4, seed=1)

  def convolve(query, kernels):
    return jax.lax.conv_general_dilated(
      query,
      kernels.transpose(1, 2, 3, 0),
      (1, 1),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ).transpose(0, 3, 1, 2)

  expected = jax.jit(jax.vmap(convolve))(query, kernels)
  np.testing.assert_allclose(_correlate(query, kernels), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("plain_scale", [50.0, 7.0])
def test_plain_detection_divides_by_the_area_and_the_scale(size, plain_scale):
  query, taps = _random(2, 2, 4, 5, 3), _random(2, 3, size, size, 3, seed=1)
  expected = _slow_correlate(query, taps) / (size * size * plain_scale)
  found = smd.detect_keypoints(
    query, Kernels(taps), similarity="plain", plain_scale=plain_scale
  )
  np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [1, 3, 5])
def test_cosine_is_that_of_every_tap_with_the_cell_under_it(size):
  query, taps = _random(2, 2, 4, 5, 3), _random(2, 3, size, size, 3, seed=1)
  cells, weights = query.copy(), taps.copy()
  for at in np.ndindex(cells.shape[:-1]):
    cells[at] /= np.linalg.norm(cells[at])
  for at in np.ndindex(weights.shape[:-1]):  # each tap by itself, not the kernel
    weights[at] /= np.linalg.norm(weights[at])
  expected = _slow_correlate(cells, weights) / (size * size)
  np.testing.assert_allclose(COSINE(query, Kernels(taps)), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("variant", ["", "cosine_"])
def test_detection_is_the_original_codes(golden, size, variant):
  query = golden["smd_query_nchw"].transpose(0, 2, 3, 1)[None]
  kernels = golden[f"kg_kernel_s{size}_nchw"].transpose(0, 2, 3, 1)[None]
  expected = golden[f"smd_{variant}heatmap_s{size}_bnhw"]
  detect = COSINE if variant else PLAIN
  found = detect(jnp.asarray(query), Kernels(jnp.asarray(kernels)))[0]
  np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def _factored(num_types, size, residual, channels=16):
  offset = (2, num_types, size, size) if residual else (1, 1, 1, 1)
  return Kernels(
    taps=_random(2, num_types, size, size, channels, seed=1),
    layer=(_random(channels, channels, seed=2), _random(*offset, channels, seed=3)),
    bias=_random(2, num_types, seed=4),
  )


@pytest.mark.slow
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("num_types", [2, 40])
@pytest.mark.parametrize("size", [1, 3])
def test_factored_kernels_detect_the_same(num_types, size, residual):
  query, kernels = _random(2, 1, 4, 4, 16), _factored(num_types, size, residual)
  expected = PLAIN(query, materialize(kernels))
  np.testing.assert_allclose(
    PLAIN(query, kernels), expected, atol=1e-5 * jnp.abs(expected).max()
  )
  np.testing.assert_allclose(
    COSINE(query, kernels), COSINE(query, materialize(kernels)), atol=1e-6
  )


@pytest.mark.parametrize("num_types, saves", [(2, False), (200, True)])
def test_the_layer_is_applied_where_that_is_less_work(num_types, saves):
  query, kernels = _random(2, 1, 4, 4, 16), _factored(num_types, 3, False)

  def work(detect):
    return jax.jit(detect).lower(query, kernels).compile().cost_analysis()["flops"]

  always = work(lambda query, kernels: PLAIN(query, materialize(kernels)))
  assert (work(PLAIN) < 0.75 * always) == saves


@pytest.mark.parametrize("detect, factor", [(PLAIN, 1.0), (COSINE, 1 / 9)])
def test_bias_is_added_per_type(detect, factor):
  query, taps = _random(2, 1, 4, 4, 3), _random(2, 2, 3, 3, 3, seed=1)
  bias = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
  difference = detect(query, Kernels(taps, bias=bias)) - detect(query, Kernels(taps))
  expected = np.broadcast_to(bias[:, None, :, None, None] * factor, difference.shape)
  np.testing.assert_allclose(difference, expected, atol=1e-5)


@pytest.mark.slow
def test_cosine_ignores_lengths_and_survives_zero():
  query, taps = _random(1, 1, 4, 4, 3), _random(1, 2, 1, 1, 3, seed=1)
  maps = COSINE(query, Kernels(taps))
  np.testing.assert_allclose(COSINE(7 * query, Kernels(3 * taps)), maps, atol=1e-6)
  assert jnp.abs(maps).max() <= 1 + 1e-6

  def first_type(taps):
    return COSINE(query, Kernels(taps))[:, :, 0].sum()

  taps[:, 1] = 0
  gradient = jax.jit(jax.grad(first_type))(taps)
  assert jnp.isfinite(gradient).all()
  assert not gradient[:, 1].any() and gradient[:, 0].any()
  # Of the type that has a kernel, with the zero vector beside it.
  with_zero = lambda tap: first_type(jnp.stack([tap, jnp.zeros_like(tap)], axis=1))
  check_grads(with_zero, (taps[:, 0],), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_bfloat16_products_are_summed_in_float32():
  query, taps = _random(1, 1, 4, 4, 64), _random(1, 2, 3, 3, 64, seed=1)
  exact = PLAIN(query, Kernels(taps))
  rounded = smd.detect_keypoints(
    query, Kernels(taps), similarity="plain", plain_scale=50.0, dtype=jnp.bfloat16
  )
  assert rounded.dtype == jnp.float32
  np.testing.assert_allclose(rounded, exact, atol=0.02 * jnp.abs(exact).max())


def test_unknown_similarity_is_named():
  with pytest.raises(ValueError, match="'dot'"):
    smd.detect_keypoints(
      _random(1, 1, 2, 2, 3),
      Kernels(_random(1, 1, 1, 1, 3)),
      similarity="dot",
      plain_scale=1.0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["plain", "cosine"])
def test_arrays_do_with_and_without_episodes(similarity):
  query, kernels = _random(2, 3, 4, 5, 3), _random(2, 2, 3, 3, 3, seed=1)
  detect = PLAIN if similarity == "plain" else COSINE
  expected = detect(query, Kernels(kernels))
  assert np.abs(expected).max() > 1e-3
  np.testing.assert_array_equal(detect(query, kernels), expected)
  for found in (
    jax.vmap(detect)(query, kernels),
    [detect(*episode) for episode in zip(query, kernels)],
  ):
    np.testing.assert_allclose(found, expected, atol=1e-6)
