"""A user's images of every kind, and crops of them."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from fskd_jax import geometry
from fskd_jax.device import store
from fskd_jax.prediction import photographs

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = np.tile(PIXELS[..., :1], 3)


@pytest.mark.parametrize(
  "given, expected",
  [
    (PIXELS, PIXELS),
    (PIXELS[..., 0], GREY),
    (PIXELS[..., :1], GREY),
    (PIXELS / 255, PIXELS),
    (np.uint16(PIXELS) * 257, PIXELS),
    (Image.fromarray(PIXELS), PIXELS),
    (Image.fromarray(PIXELS[..., 0]), GREY),
    (Image.fromarray(np.uint16(PIXELS[..., 0]) * 257), GREY),
    (np.dstack([PIXELS, np.full((6, 9), 255, np.uint8)]), PIXELS),
  ],
)
def test_kinds_of_pixels(given, expected):
  np.testing.assert_array_equal(photographs.read(given, "it"), expected)


@pytest.mark.parametrize(
  "given, message",
  [
    (PIXELS / 100, r"it: floating-point values 0 .. 2.49, expected 0 .. 1"),
    (np.full((2, 2), np.nan), "expected 0 .. 1"),
    (PIXELS.astype(np.int64), "int64 values, expected uint8, uint16 or float"),
    (PIXELS[..., :2], r"shape \(6, 9, 2\)"),
    (PIXELS[:0], r"shape \(0, 9, 3\)"),
    (PIXELS[None], r"shape \(1, 6, 9, 3\)"),
    (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "no pixel that is a finite"),
  ],
)
def test_what_is_ambiguous_is_refused(given, message):
  with pytest.raises(ValueError, match=message):
    photographs.read(given, "it")


def test_transparent_parts_look_like_the_surroundings():
  given = np.dstack([PIXELS, np.zeros((6, 9), np.uint8)])
  found = photographs.read(given, "it")
  assert len(np.unique(found.reshape(-1, 3), axis=0)) == 1
  corner = photographs.crop(PIXELS, np.float32([[1, 0, -50], [0, 1, -50]]), 2)
  np.testing.assert_array_equal(found[0, 0], corner[0, 0])


def test_files_of_every_kind(tmp_path):
  picture = Image.fromarray(PIXELS)
  picture.save(tmp_path / "rgb.png")
  Image.fromarray(np.uint16(PIXELS[..., 0]) * 257).save(tmp_path / "deep.png")
  picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
  picture.convert("P").save(tmp_path / "palette.gif")
  read = {p.name: photographs.read(p, p.name) for p in sorted(tmp_path.iterdir())}
  assert all(found.shape == (6, 9, 3) for found in read.values())
  np.testing.assert_array_equal(read["rgb.png"], PIXELS)
  np.testing.assert_array_equal(read["deep.png"], GREY)
  assert abs(read["cmyk.jpg"].astype(int) - PIXELS).mean() < 20


def test_a_photograph_is_turned_as_a_viewer_shows_it(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # the camera was held upright
  path = tmp_path / "turned.png"
  Image.fromarray(PIXELS).save(path, exif=exif)
  found = photographs.read(path, "it")
  np.testing.assert_array_equal(found, np.rot90(PIXELS, -1))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n123"])
def test_what_is_no_image_says_so(content, tmp_path):
  path = tmp_path / "x.png"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r"image '.*x\.png' cannot be decoded"):
    photographs.read(path, str(path))
  with pytest.raises(FileNotFoundError, match="there is no file"):
    photographs.read(tmp_path / "none.png", "it")


def _matrix(scale, angle, shift):
  a, b = scale * np.cos(angle), scale * np.sin(angle)
  return np.float32([[a, -b, shift[0]], [b, a, shift[1]]])


@pytest.mark.parametrize(
  "matrix",
  [
    _matrix(1, 0, (0, 0)),
    _matrix(0.4, 0, (10, 5)),
    _matrix(2.7, 0.3, (-20, -30)),
    _matrix(6.0, 0, (-9, -40)),
  ],
)
def test_crops_are_those_of_the_data_set(matrix):
  rng = np.random.default_rng(1)
  small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
  image = np.asarray(small.resize((160, 120), Image.Resampling.BICUBIC))
  expected = store.crop(image, matrix, (24, 24)).astype(int)
  assert abs(photographs.crop(image, matrix, 24) - expected).max() <= 1


def test_a_huge_photograph_does_not_alias():
  board = np.indices((800, 800)).sum(0) % 2 * 255
  image = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
  matrix = np.float32([[40, 0, 19.5], [0, 40, 19.5]])
  assert geometry.affine_scale(matrix) == 40
  found = photographs.crop(image, matrix, 20).astype(int)
  assert abs(found[1:-1, 1:-1] - 127.5).max() < 3


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("corner", [(70, 60), (-90, -70), (150, 110), (900, -900)])
def test_a_crop_needs_only_the_part_that_it_shows(level, corner):
  image = np.random.default_rng(2).integers(0, 256, (120, 164, 3), np.uint8)
  matrix = _matrix(1.1 * 2**level, 0.2, corner)
  expected = photographs.crop(_framed(image, 800), _matrix_in(matrix, 800), 24)
  assert abs(photographs.crop(image, matrix, 24).astype(int) - expected).max() <= 1


def _framed(image, width):
  return np.asarray(
    ImageOps.expand(Image.fromarray(image), width, photographs.BORDER_COLOR)
  )


def _matrix_in(matrix, width):
  moved = matrix.astype(np.float64)
  moved[:, 2] += width
  return moved
