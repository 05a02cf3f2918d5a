"""Marks on images: keypoints lie where they lie in the image."""

import numpy as np
from PIL import Image

from fskd_jax.pictures import marks


def test_pictures_of_a_reduced_image_show_the_same():
  image = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
  large = np.asarray(
    Image.fromarray(image).resize((400, 300), Image.Resampling.BICUBIC)
  )
  points = np.array([(40.0, 50.0), (300.0, 200.0), (np.nan, np.nan)])
  covariance = np.tile(np.diag([90.0, 250.0]), (3, 1, 1))
  filled = np.array([True, False, True])
  one = marks.Marks("", large, points, filled, covariance, box=(30, 40, 300, 200))
  both = one._replace(others=(one._replace(keypoints=points + 30),))
  small = marks.reduced(both, 100)
  assert small.image.shape == (75, 100, 3)
  drawn, expected = (
    np.asarray(marks.draw_marks(x, 50)).astype(int) for x in (small, both)
  )
  assert drawn.shape == expected.shape
  assert abs(drawn - expected).mean() < 3
  assert marks.reduced(both, 300) is both
