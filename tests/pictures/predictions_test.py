"""Pictures of predictions: what is drawn, and where."""

import numpy as np
import pytest

from fskd_jax.pictures.predictions import (
  THUMBNAIL,
  Marks,
  draw_contact_sheet,
  draw_marks,
  draw_prediction,
)

GROUND = np.full((30, 60, 3), 128, np.uint8)


def _marks(points, filled=None, **more):
  points = np.array(points, float)
  filled = np.ones(len(points), bool) if filled is None else np.array(filled)
  return Marks("x.jpg", GROUND, points, filled, **more)


def _ink(picture):
  """Centre (x, y) and number of coloured pixels."""
  pixels = np.asarray(picture).astype(int)
  rows, columns = np.nonzero(np.ptp(pixels, axis=-1) > 60)
  return np.array([columns.mean(), rows.mean()]), len(rows)


@pytest.mark.parametrize("side", [60, 240, 1200])
def test_a_dot_lies_on_its_keypoint_at_any_size(side):
  picture = draw_marks(_marks([(40, 8)]), side)
  assert max(picture.size) == side
  scale = side / 60
  center, _ = _ink(picture)
  np.testing.assert_allclose(center, (np.array([40, 8]) + 0.5) * scale - 0.5, atol=1)


def test_rings_are_hollow_and_missing_keypoints_are_not_drawn():
  dot, ring = (draw_marks(_marks([(30, 15)], [f]), 600) for f in (True, False))
  assert np.ptp(np.asarray(dot)[155, 305].astype(int)) > 60
  assert np.ptp(np.asarray(ring)[155, 305].astype(int)) < 20
  assert 0 < _ink(ring)[1] < _ink(dot)[1]
  nothing = np.asarray(draw_marks(_marks([(np.nan, np.nan)]), 600))
  assert np.ptp(nothing) == 0


def test_ellipses_follow_the_covariance_and_bones_join_dots():
  wide = np.array([[[40.0, 0], [0, 4.0]]])
  ellipse = draw_marks(_marks([(30, 15)], covariance=wide), 600)
  difference = np.asarray(ellipse) != np.asarray(draw_marks(_marks([(30, 15)]), 600))
  rows, columns, _ = np.nonzero(difference)
  # Two standard deviations, ten pixels per pixel.
  assert np.ptp(columns) == pytest.approx(4 * np.sqrt(40) * 10, abs=6)
  assert np.ptp(rows) == pytest.approx(4 * 2 * 10, abs=6)
  ends = [(10, 15), (50, 15)]
  bone = np.asarray(draw_marks(_marks(ends, skeleton=[(0, 1)]), 600))[155, 305]
  assert (bone > 200).all()
  ring = draw_marks(_marks(ends, [True, False], skeleton=[(0, 1)]), 600)
  assert (np.asarray(ring)[155, 305] == 128).all()


@pytest.mark.parametrize("name", ["a\nb", "z\udce9", "\x1b[31m", "x" * 100_000])
def test_any_name_is_drawn(name):
  marks = _marks([(5, 5)])._replace(title=name)
  page = draw_prediction([marks], marks, [name], np.array([0.9]))
  plain = marks._replace(title="x")
  assert page.height == draw_prediction([plain], plain, ["x"], np.ones(1)).height
  draw_contact_sheet([(name, draw_marks(marks, THUMBNAIL))])


def test_pages_hold_everything():
  marks, names = _marks([(5, 5), (50, 20)]), ["a", "a very long name " * 5]
  one = draw_prediction([marks], marks, names, np.array([0.9, 0.1]))
  many = draw_prediction([marks] * 5, marks, names, np.array([0.9, 0.1]))
  assert one.height == many.height and one.width > many.width
  types = 68
  crowd = _marks(np.zeros((types, 2)))
  wide = draw_prediction([crowd], crowd, ["type"] * types, np.zeros(types))
  assert wide.width > one.width - 200
  thumbnails = [("x", draw_marks(marks, THUMBNAIL))] * 7
  sheet = draw_contact_sheet(thumbnails)
  assert sheet.width > 4 * THUMBNAIL and sheet.height > 2 * THUMBNAIL
