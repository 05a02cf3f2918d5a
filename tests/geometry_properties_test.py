"""Conversions of coordinates and their inverses, on drawn examples."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax import geometry

COORDINATES = st.floats(-2000, 2000)
STRIDES = st.sampled_from([1, 2, 4, 8, 16, 32, 1.5])
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=5).map(
  np.array
)


@st.composite
def similarities(draw):
  """Draws a 2x3 matrix: rotation, scale, shift and perhaps a mirror."""
  angle, scale = draw(st.floats(-np.pi, np.pi)), draw(st.floats(0.05, 20))
  sign = draw(st.sampled_from([-1.0, 1.0]))
  cos, sin = np.cos(angle), np.sin(angle)
  linear = scale * np.array([[sign * cos, -sin], [sign * sin, cos]])
  shift = np.array([draw(COORDINATES), draw(COORDINATES)])
  return np.concatenate([linear, shift[:, None]], axis=1)


@given(POINTS, STRIDES)
def test_cells_and_pixels_are_inverses(points, stride):
  cells = geometry.pixels_to_grid(points, stride)
  np.testing.assert_allclose(geometry.grid_to_pixels(cells, stride), points, atol=1e-9)


@given(POINTS, similarities())
def test_the_inverse_of_a_matrix_moves_points_back(points, matrix):
  inverse = geometry.invert_affine(matrix)
  moved = geometry.apply_affine(matrix, points)
  np.testing.assert_allclose(geometry.apply_affine(inverse, moved), points, atol=1e-6)
  scales = geometry.affine_scale(matrix) * geometry.affine_scale(inverse)
  np.testing.assert_allclose(scales, 1, rtol=1e-6)


@given(POINTS, similarities(), st.integers(0, 3))
def test_pixels_of_a_reduced_image_are_those_of_the_original(points, matrix, level):
  reduced = geometry.apply_affine(geometry.to_level(matrix, np.array(level)), points)
  expected = geometry.apply_affine(matrix, points)
  np.testing.assert_allclose(
    geometry.grid_to_pixels(reduced, 2**level), expected, atol=1e-6
  )


@given(similarities())
def test_halving_never_skips_a_pixel_of_the_crop(matrix):
  level = int(geometry.reduction_level(matrix))
  left = geometry.affine_scale(geometry.to_level(matrix, np.array(level)))
  if level:
    assert left >= 1 - 1e-5  # an enlarged crop would lose detail
  if level < 3:
    assert left < 2
