import doctest

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.parity.cases import normalized_to_pixels
from fskd_jax import geometry

TURN = np.array([[0.6, -0.8, 3.0], [0.8, 0.6, -2.0]])  # rotation, no scale


def _matrices(num: int = 5) -> np.ndarray:
  return np.random.default_rng(0).normal(size=(num, 2, 3))


def test_the_examples_in_docstrings_hold():
  assert doctest.testmod(geometry).failed == 0


def test_cell_centers_are_the_mean_of_the_cells_pixels():
  centers = geometry.cell_centers(4, 8)
  np.testing.assert_array_equal(centers, np.arange(32).reshape(4, 8).mean(axis=1))
  assert centers.dtype == np.float32


def test_grid_and_pixels_agree_with_the_cell_centers():
  cells = np.arange(6.0)
  pixels = geometry.grid_to_pixels(cells, 4)
  np.testing.assert_allclose(pixels, geometry.cell_centers(6, 4))
  np.testing.assert_allclose(geometry.pixels_to_grid(pixels, 4), cells)


def test_normalized_coordinates_of_the_original_span_the_pixels():
  # x_n = 2 (x / L - 0.5): pixel 0 is at -1, pixel L / 2 at 0.
  points = np.array([0.0, 48.0, 95.0])
  normalized = 2 * (points / 96 - 0.5)
  np.testing.assert_allclose(normalized_to_pixels(normalized, 96), points)


def test_apply_affine_is_the_textbook_formula_per_point():
  matrices = _matrices()
  points = np.random.default_rng(1).normal(size=(5, 7, 2))
  moved = geometry.apply_affine(matrices, points)
  for i, j in np.ndindex(5, 7):
    x, y = points[i, j]
    (a, b, c), (d, e, f) = matrices[i]
    expected = [a * x + b * y + c, d * x + e * y + f]
    np.testing.assert_allclose(moved[i, j], expected)


def test_gaussian_exponents_of_an_oblong_map():
  points = np.random.default_rng(0).uniform(0, 20, (3, 2))
  found = geometry.gaussian_exponents(points, (5, 3), 4, 6.0)
  assert found.shape == (3, 5, 3)
  for i, row, column in np.ndindex(3, 5, 3):
    x, y = points[i] - (column * 4 + 1.5, row * 4 + 1.5)
    np.testing.assert_allclose(found[i, row, column], (x**2 + y**2) / 72, rtol=1e-5)


def test_invert_undoes():
  inverse = geometry.invert_affine(_matrices())
  points = np.random.default_rng(1).normal(size=(5, 7, 2))
  moved = geometry.apply_affine(_matrices(), points)
  np.testing.assert_allclose(geometry.apply_affine(inverse, moved), points, atol=1e-9)


def test_a_singular_matrix_is_refused():
  with pytest.raises(np.linalg.LinAlgError):
    geometry.invert_affine(np.zeros((2, 3)))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_scale_of_a_similarity_ignores_rotation_and_mirror(sign):
  matrix = np.concatenate([TURN[:, :2] @ np.diag([sign * 2.5, 2.5]), TURN[:, 2:]], 1)
  np.testing.assert_allclose(geometry.affine_scale(matrix), 2.5)


@pytest.mark.parametrize(
  "scale, level",
  [(0.3, 0), (1, 0), (1.99, 0), (2, 1), (3.9, 1), (4, 2), (8, 3), (99, 3)],
)
def test_the_level_never_shrinks_below_the_crop(scale, level):
  matrix = np.float32(scale * TURN)
  assert geometry.reduction_level(matrix) == level
  assert geometry.reduction_level(np.stack([matrix] * 2)).tolist() == [level] * 2


def test_the_level_has_a_highest_value():
  assert geometry.reduction_level(np.float32(99 * TURN), max_level=1) == 1


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_to_level_names_the_reduced_pixel_that_covers_the_same_place(level):
  stride = 2**level
  # Network pixel 5 is mapped to the centre of the block of reduced pixel (3, 7).
  center = np.array([3, 7]) * stride + (stride - 1) / 2
  matrix = 3.0 * TURN
  matrix[:, 2] = center - matrix[:, :2] @ [5, 5]
  reduced = geometry.to_level(matrix, np.array(level))
  moved = geometry.apply_affine(reduced, np.array([[5.0, 5.0]]))
  np.testing.assert_allclose(moved, [[3, 7]])
  np.testing.assert_allclose(
    geometry.affine_scale(reduced) * stride, geometry.affine_scale(matrix)
  )


def test_to_level_takes_one_level_per_matrix():
  matrices, levels = _matrices(3), np.array([0, 2, 1])
  expected = [geometry.to_level(m, np.array(n)) for m, n in zip(matrices, levels)]
  np.testing.assert_allclose(geometry.to_level(matrices, levels), expected)


def test_jax_arrays_come_back_as_jax_arrays_with_the_same_values():
  matrices = np.float32(_matrices())
  points = np.float32(np.random.default_rng(1).normal(size=(5, 7, 2)))
  levels = np.array([0, 1, 2, 3, 0])
  for function, arguments in (
    (geometry.apply_affine, (matrices, points)),
    (geometry.affine_scale, (matrices,)),
    (geometry.to_level, (matrices, levels)),
  ):
    result = function(*map(jnp.asarray, arguments))
    assert isinstance(result, jnp.ndarray)
    np.testing.assert_allclose(result, function(*arguments), rtol=1e-5, atol=1e-5)


def test_box_center_is_the_mean_of_the_covered_pixels():
  boxes = np.array([[3.0, 5, 1, 1], [10, 20, 4, 7]])
  np.testing.assert_allclose(geometry.box_center(boxes), [[3, 5], [11.5, 23]])


@pytest.mark.parametrize("mirrored", (False, True))
def test_crop_matrix_keeps_center_width_and_orientation(mirrored):
  center, angle, size = np.array([40.0, 70.0]), 0.3, (64, 48)
  matrix = geometry.crop_matrix(center, 96.0, angle, mirrored, size)
  corners = np.array([[-0.5, -0.5], [47.5, -0.5], [-0.5, 63.5], [47.5, 63.5]])
  image = geometry.apply_affine(matrix, corners)
  np.testing.assert_allclose(image.mean(0), center, atol=1e-4)
  across, down = image[1] - image[0], image[2] - image[0]
  sign = -1 if mirrored else 1
  expected = sign * 96 * np.array([np.cos(angle), np.sin(angle)])
  np.testing.assert_allclose(across, expected, rtol=1e-5)
  np.testing.assert_allclose(down, 128 * np.array([-np.sin(angle), np.cos(angle)]))


def test_crop_matrices_of_many_boxes_are_those_of_each():
  rng = np.random.default_rng(0)
  centers, widths = rng.uniform(0, 99, (6, 2)), rng.uniform(0, 50, 6)
  widths[0] = 0.0  # counts as 1
  angles, mirrored = rng.uniform(-3, 3, 6), rng.random(6) < 0.5
  many = geometry.crop_matrix(centers, widths, angles, mirrored, (32, 24))
  one = [
    geometry.crop_matrix(c, max(w, 1.0), a, m, (32, 24))
    for c, w, a, m in zip(centers, widths, angles, mirrored)
  ]
  np.testing.assert_allclose(many, one, rtol=1e-6)
  assert many.dtype == np.float32
