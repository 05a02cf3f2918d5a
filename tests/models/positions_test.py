"""Interpolation of positions against PyTorch's, rotation against complex numbers."""

import numpy as np
import pytest

from fskd_jax.models.positions import cubic_weights, rotary_angles, rotate


@pytest.mark.torch
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("new", [3, 16, 37, 50])
def test_interpolation_is_that_of_pytorch(new, antialias):
  torch = pytest.importorskip("torch", reason="compares with PyTorch")
  cells = np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32)
  expected = torch.nn.functional.interpolate(
    torch.tensor(cells.T)[None, :, :, None].expand(1, 4, 37, 37),
    size=(new, 37),
    mode="bicubic",
    antialias=antialias,
  )
  found = cubic_weights(37, new, antialias) @ cells
  np.testing.assert_allclose(found, expected[0, :, :, 0].numpy().T, atol=2e-5)


def test_vectors_turn_with_their_place():
  rows, columns, channels = 3, 2, 8
  angles = rotary_angles(rows, columns, channels)
  x = np.random.default_rng(0).normal(size=(2, 1 + rows * columns, 3, channels))
  x = x.astype(np.float32)
  found = np.asarray(rotate(x, angles))
  np.testing.assert_array_equal(found[:, 0], x[:, 0])  # it has no place
  half = channels // 2
  for row in range(rows):
    for column in range(columns):
      for i in range(half):
        place = (row + 0.5) / rows if i < half // 2 else (column + 0.5) / columns
        angle = 2 * np.pi * (2 * place - 1) / 100 ** (4 * (i % (half // 2)) / channels)
        cell = 1 + row * columns + column
        turned = (x[:, cell, :, i] + 1j * x[:, cell, :, i + half]) * np.exp(1j * angle)
        np.testing.assert_allclose(found[:, cell, :, i], turned.real, atol=1e-5)
        np.testing.assert_allclose(found[:, cell, :, i + half], turned.imag, atol=1e-5)
