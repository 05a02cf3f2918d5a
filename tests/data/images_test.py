"""decode: right pixels at every level, stored orientation, named errors."""

import io

import numpy as np
import pytest
from PIL import Image

from fskd_jax.data import images


def encode(pixels, kind, **options):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, kind, **options)
  return stream.getvalue()


def smooth(height, width):
  y, x = np.mgrid[:height, :width]
  ramp = [200 * x / width, 200 * y / height, 60 + 60 * np.sin(x / 9) * np.cos(y / 7)]
  return np.stack(ramp, -1).round().astype(np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("shape", [(64, 96), (61, 83), (5, 50), (1, 1)])
@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_cells_are_box_means(kind, shape, level):
  pixels = smooth(*shape)
  options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
  found = images.decode(encode(pixels, kind, **options), "x", level)
  t = 2**level
  rows, columns = -(-shape[0] // t), -(-shape[1] // t)
  assert found.shape == (rows, columns, 3) and found.dtype == np.uint8
  for row in range(rows):
    for column in range(columns):
      cell = pixels[row * t : (row + 1) * t, column * t : (column + 1) * t]
      if kind == "PNG" or cell.shape[:2] == (t, t):  # JPEG pads its last blocks
        np.testing.assert_allclose(found[row, column], cell.mean((0, 1)), atol=8)


def test_png_is_exact_and_gray_and_alpha_become_rgb():
  pixels = smooth(9, 7)
  np.testing.assert_array_equal(images.decode(encode(pixels, "PNG"), "x"), pixels)
  gray = pixels[..., 0]
  for level in (0, 1):
    shape = (-(-9 // 2**level), -(-7 // 2**level), 3)
    assert images.decode(encode(gray, "JPEG"), "x", level).shape == shape
  alpha = np.dstack([pixels, np.full((9, 7), 255, np.uint8)])
  np.testing.assert_array_equal(images.decode(encode(alpha, "PNG"), "x"), pixels)


def test_orientation_tag_is_ignored():
  exif = Image.Exif()
  exif[274] = 6  # turn by 90 degrees
  data = encode(smooth(16, 32), "JPEG", exif=exif)
  assert images.decode(data, "x").shape == (16, 32, 3)
  images.check_size(data, "x", (32, 16))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_broken_images_are_named(kind):
  data = encode(smooth(64, 64), kind)
  for broken in (b"", b"text", data[:30], data[: len(data) // 2]):
    with pytest.raises(ValueError, match=r"image 'a\.jpg' cannot be decoded"):
      images.decode(broken, "a.jpg")
