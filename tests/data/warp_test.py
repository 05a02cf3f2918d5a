"""NumPy's warp beside TensorFlow's, bit for bit."""

import numpy as np
import pytest
from helpers.libraries import needs_tensorflow

from fskd_jax.data.warp import warp
from fskd_jax.episode import BORDER_COLOR


def _matrix(rng, number):
  if number % 3 == 0:  # half pixels: ties in rounding
    return np.float32([[1, 0, rng.integers(-9, 9) / 2], [0, 1, rng.integers(9) / 2]])
  angle, scale = rng.uniform(-3, 3), rng.uniform(0.2, 2)
  cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
  x, y = rng.uniform(-50, 150, 2)
  return np.float32([[cosine, -sine, x], [sine, cosine, y]])


@needs_tensorflow
def test_pixels_are_those_of_tensorflow():
  import tensorflow as tf

  from fskd_jax.data import pipeline

  rng, shown = np.random.default_rng(0), 0
  for number in range(24):
    image = rng.integers(0, 256, (*rng.integers(5, 200, 2), 3)).astype(np.uint8)
    matrix, size = _matrix(rng, number), tuple(rng.integers(4, 64, 2).tolist())
    theirs = pipeline._warp(tf.constant(image), tf.constant(matrix), size).numpy()
    np.testing.assert_array_equal(warp(image, matrix, size), theirs)
    shown += theirs.std() > 20
  assert shown > 8


def test_what_lies_outside_has_the_colour_of_the_border():
  image = np.full((9, 7, 3), 200, np.uint8)
  away = np.float32([[1, 0, 50], [0, 1, -40]])
  expected = np.broadcast_to(np.round(BORDER_COLOR), (5, 6, 3))
  np.testing.assert_array_equal(warp(image, away, (5, 6)), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_images(shape):
  image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
  same = warp(image, np.eye(2, 3, dtype=np.float32), shape)
  np.testing.assert_array_equal(same, image)
