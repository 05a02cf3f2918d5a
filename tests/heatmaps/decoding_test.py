"""DARK at measured samples, and the properties of any decoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.heatmaps import decoding


@functools.partial(jax.jit, static_argnums=(1, 2))
def decode(maps, stride, kind):
  """(x, y, peak)."""
  found = decoding.decode(maps, stride, kind, decoding.BUMP_TEMPERATURE)
  return jnp.concatenate([found.keypoints, found.peak[..., None]], axis=-1)


def _gaussian(x, y, peak=0.8):
  rows, columns = np.mgrid[:64, :48]
  return np.float32(peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8))


SAMPLES = {  # docs/transpose.md#decoding, in cells
  (20.3, 31.7): (20.2998428, 31.7001572),
  (10, 12): (10, 12),
  (1.4, 30): (1, 30),  # at the border there is no refinement
  (46.2, 62.8): (46, 63),
  (2.6, 3.4): (2.6958323, 3.4215710),
  (24.5, 40.5): (24.4996586, 40.4996567),
}


def test_dark_gives_the_measured_samples():
  maps = np.stack([_gaussian(*point) for point in SAMPLES])
  found = np.asarray(decode(maps, 1, "dark"))
  np.testing.assert_allclose(found[:, :2], list(SAMPLES.values()), atol=2e-5)
  np.testing.assert_allclose(found[0, 2], 0.7822011, atol=1e-6)  # before smoothing


def test_dark_does_not_tame_a_step_that_noise_makes_long():
  noise = np.random.default_rng(3).standard_normal((1, 2, 64, 48))
  found = np.asarray(decode(np.float32(noise), 1, "dark"))[0, :, :2]
  np.testing.assert_allclose(found, [[46, 40], [17.5526733, 59.6052208]], atol=1e-4)
  cells = np.asarray(decode(np.float32(noise), 1, "argmax"))[0, :, :2]
  np.testing.assert_array_equal(cells, [[46, 40], [18, 60]])


@pytest.mark.parametrize(
  ("kind", "tolerance"), [("argmax", 2.01), ("dark", 0.02), ("mode", 0.9)]
)
def test_a_gaussian_is_found_in_pixels(kind, tolerance):
  points = np.random.default_rng(0).uniform((6, 6), (41, 57), (40, 2))
  maps = np.stack([_gaussian(*point) for point in points])
  found = np.asarray(decode(maps, 4, kind))
  np.testing.assert_allclose(found[:, :2], points * 4 + 1.5, atol=tolerance)
  swapped = points[:, ::-1] * 4 + 1.5
  assert abs(found[:, :2] - swapped).max() > 10


def test_another_decoding_is_refused():
  with pytest.raises(ValueError, match="'mean'"):
    decoding.decode(jnp.zeros((4, 4)), 4, "mean", 1.0)


def test_only_the_location_depends_on_the_kind():
  maps = np.random.default_rng(5).normal(size=(2, 3, 16, 12)).astype(np.float32)
  read = jax.jit(decoding.decode, static_argnums=(1, 2, 3))
  found = {kind: read(maps, 8, kind, 0.5) for kind in decoding.KINDS}
  for kind, readout in found.items():
    for field, expected in zip(readout[1:], found["mode"][1:]):
      np.testing.assert_array_equal(field, expected)
    assert kind == "mode" or (readout.keypoints != found["mode"].keypoints).any()
  for index in np.ndindex(2, 3):
    row, column = np.unravel_index(maps[index].argmax(), (16, 12))
    expected = [column * 8 + 3.5, row * 8 + 3.5]
    np.testing.assert_array_equal(found["argmax"].keypoints[index], expected)
