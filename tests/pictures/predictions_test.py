"""Pictures of predictions: what is drawn, and where."""

import numpy as np
import pytest

from fskd_jax.pictures.marks import Marks, cut_out, draw_marks
from fskd_jax.pictures.predictions import THUMBNAIL, draw_contact_sheet, draw_prediction

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


def test_small_objects_are_cut_out_with_their_keypoints():
  image = np.full((300, 600, 3), 128, np.uint8)
  image[200:203, 500:503] = (255, 0, 0)
  one = Marks(
    "x", image, np.array([[501.0, 201]]), np.ones(1, bool), box=(480, 180, 60, 40)
  )
  part = cut_out(one)
  assert max(part.image.shape) == 96
  x, y = part.keypoints[0].astype(int)
  np.testing.assert_array_equal(part.image[y, x], (255, 0, 0))
  other = one._replace(keypoints=one.keypoints - [450, 0], box=(30, 180, 60, 40))
  assert cut_out(one._replace(others=(other,))).image.shape == image.shape
  near = other._replace(keypoints=one.keypoints - [60, 0], box=(420, 180, 60, 40))
  both = cut_out(one._replace(others=(near,)))
  x, y = both.others[0].keypoints[0] + [60, 0]
  np.testing.assert_array_equal(both.image[int(y), int(x)], (255, 0, 0))
  assert cut_out(one._replace(box=None)).image.shape == image.shape


def test_many_types_are_numbered_and_sheets_name_them():
  marks = _marks([(20, 15)])
  plain, numbered = (np.asarray(draw_marks(marks, 560, n)) for n in (False, True))
  rows, columns = np.nonzero((plain != numbered).any(-1))
  dot = (np.array([20, 15]) + 0.5) * 560 / 60
  assert np.hypot(columns - dot[0], rows - dot[1]).max() < 40
  picture = ("x", draw_marks(marks, THUMBNAIL))
  without, with_names = (
    draw_contact_sheet([picture]),
    draw_contact_sheet([picture], "ab"),
  )
  assert with_names.height > without.height
  more = draw_contact_sheet([picture], ["a long name"] * 9)
  assert more.height > with_names.height


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
  assert sheet.width > 4 * THUMBNAIL
  assert THUMBNAIL < sheet.height < 1.5 * THUMBNAIL  # no more than two rows need
