"""The measured samples of DARK, and what any decoder must do."""

import jax
import numpy as np
import pytest

from fskd_jax.heatmaps import decoding

decode = jax.jit(decoding.decode, static_argnums=(1, 2))


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


@pytest.mark.parametrize(("kind", "tolerance"), [("argmax", 2.01), ("dark", 0.02)])
def test_a_gaussian_is_found_in_pixels(kind, tolerance):
  points = np.random.default_rng(0).uniform((6, 6), (41, 57), (40, 2))
  maps = np.stack([_gaussian(*point) for point in points])
  found = np.asarray(decode(maps, 4, kind))
  np.testing.assert_allclose(found[:, :2], points * 4 + 1.5, atol=tolerance)
  swapped = points[:, ::-1] * 4 + 1.5
  assert abs(found[:, :2] - swapped).max() > 10


def test_a_map_without_a_positive_value_says_so():
  maps = np.stack([-_gaussian(20, 20), np.zeros((64, 48), np.float32)])
  found = np.asarray(decode(maps, 4, "dark"))
  np.testing.assert_array_equal(found[:, :2], 1.5)
  assert (found[:, 2] <= 0).all() and np.isfinite(found).all()


def test_another_decoding_is_refused():
  with pytest.raises(ValueError, match="'mean'"):
    decoding.decode(np.zeros((4, 4)), 4, "mean")
