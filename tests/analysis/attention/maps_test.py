import numpy as np
import pytest

from fskd_jax.analysis.attention import maps

GRID = 3, 4
"""Of 12 tokens, stride 8: crops of 24 x 32 pixels."""


@pytest.fixture
def weights():
  rows = np.random.default_rng(0).random((2, 12, 12))
  return rows / rows.sum(-1, keepdims=True)


def test_a_token_holds_the_pixels_of_its_cell():
  for y in range(24):
    for x in range(32):
      token = maps.token_at(np.array([x, y]), (24, 32), GRID)
      assert token == (y // 8) * 4 + x // 8
  for x, column in ((-3.0, 0), (7.49, 0), (7.51, 1), (31.4, 3), (40.0, 3)):
    assert maps.token_at(np.array([x, 0.0]), (24, 32), GRID) == column


def test_rows_are_dependencies_and_columns_are_affected(weights):
  depends = maps.dependency_map(weights, 6, GRID)
  affected = maps.affected_map(weights, 6, GRID)
  assert depends.shape == affected.shape == (2, *GRID)
  for row in range(3):
    for column in range(4):
      other = row * 4 + column
      np.testing.assert_array_equal(depends[:, row, column], weights[:, 6, other])
      np.testing.assert_array_equal(affected[:, row, column], weights[:, other, 6])
  np.testing.assert_allclose(depends.sum((1, 2)), 1)


def test_upsampling_interpolates_between_cell_centres(weights):
  cells = maps.dependency_map(weights, 0, GRID)
  pixels = maps.upsample(cells, (24, 32))
  assert pixels.shape == (2, 24, 32)
  for y, x in ((3, 11), (10, 14), (0, 31), (23, 8)):
    place = np.clip([(y - 3.5) / 8, (x - 3.5) / 8], 0, [2, 3])
    (top, left), (down, right) = place.astype(int), place % 1
    bottom, next_column = min(top + 1, 2), min(left + 1, 3)
    expected = (1 - down) * (
      (1 - right) * cells[:, top, left] + right * cells[:, top, next_column]
    ) + down * (
      (1 - right) * cells[:, bottom, left] + right * cells[:, bottom, next_column]
    )
    np.testing.assert_allclose(pixels[:, y, x], expected, rtol=1e-5)


def test_uniform_attention_lies_at_the_relative_threshold_1():
  uniform = np.full((12, 12), 1 / 12)
  limit = maps.relative_threshold(1.0, GRID)
  assert not (uniform > limit).any() and (uniform > limit * 0.99).all()


def test_similarity_is_the_cosine():
  angles = np.array([0.0, 0.4, np.pi / 2, 3.0])
  lengths = np.array([[1.0], [20.0], [0.1], [3.0]])
  vectors = lengths * np.stack([np.cos(angles), np.sin(angles)], axis=1)
  found = maps.cosine_similarities(vectors)
  np.testing.assert_allclose(found, np.cos(angles[:, None] - angles), atol=1e-12)
