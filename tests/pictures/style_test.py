"""Colours of keypoints can be told apart, also by the colour-blind."""

import matplotlib
import numpy as np
import pytest

from fskd_jax.pictures.style import keypoint_colors

# Viénot, Brettel and Mollon (1999), for linear RGB.
DICHROMATS = {
  "protanopia": [(0.1124, 0.8876, 0), (0.1124, 0.8876, 0), (0.004, -0.004, 1)],
  "deuteranopia": [(0.2928, 0.7072, 0), (0.2928, 0.7072, 0), (-0.0223, 0.0223, 1)],
}


def _nearest(colors, matrix):
  """Returns the least distance of two colours as a dichromat sees them, 0..1."""
  seen = np.clip(colors**2.2 @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
  away = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
  return away[np.triu_indices(len(seen), 1)].min()


@pytest.mark.parametrize("kind", DICHROMATS)
def test_eight_types_can_be_told_apart(kind):
  rainbow = matplotlib.colormaps["gist_rainbow"](np.linspace(0, 1, 8, False))[:, :3]
  nearest = _nearest(keypoint_colors(8), DICHROMATS[kind])
  assert nearest > max(0.15, _nearest(rainbow, DICHROMATS[kind]))


def test_the_first_colours_are_the_same_for_any_number_of_types():
  np.testing.assert_allclose(keypoint_colors(20)[:8], keypoint_colors(3 + 5))
  assert keypoint_colors(0).shape == (0, 3)
