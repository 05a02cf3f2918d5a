"""Views of an image: points and pixels go the same way."""

import numpy as np

from fskd_jax import geometry
from fskd_jax.own_labels import views


def test_points_and_pixels_of_a_view_agree():
  image = np.zeros((120, 160, 3), np.uint8)
  point = np.array([[90.0, 50.0]])
  image[49:52, 89:92] = 255
  for degrees, zoom in views.POSES:
    view = views.view(image, (60, 30, 50, 40), degrees, zoom)
    (x, y), *_ = view.seen(point)
    bright = np.argwhere(view.pixels[..., 0] > 200).mean(0)[::-1]
    np.testing.assert_allclose((x, y), bright, atol=0.6)
    np.testing.assert_allclose(
      geometry.apply_affine(view.to_image, view.seen(point)), point
    )
    # The box is as large in the view as its longer side is in the image, zoomed.
    scale = 1 / geometry.affine_scale(view.to_image)
    np.testing.assert_allclose(view.box[2], 50 * scale)
  assert np.isnan(view.seen(np.array([[900.0, 0.0]]))).all()
