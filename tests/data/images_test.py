"""Opening and decoding: right pixels, what a file may cost, named errors."""

import ast
import io
import logging
import pathlib
import stat
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

import fskd_jax
from fskd_jax.data import depth, images
from fskd_jax.prediction import inputs, photographs


def encode(pixels, kind, **options):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, kind, **options)
  return stream.getvalue()


def smooth(height, width):
  y, x = np.mgrid[:height, :width]
  ramp = [200 * x / width, 200 * y / height, 60 + 60 * np.sin(x / 9) * np.cos(y / 7)]
  return np.stack(ramp, -1).round().astype(np.uint8)


@pytest.mark.slow
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


def turned(orientation, kind="PNG", shape=(16, 32), **options):
  """Returns an image that EXIF data turns, and its pixels as viewers show them."""
  exif = Image.Exif()
  exif[274] = orientation
  data = encode(smooth(*shape), kind, exif=exif, **options)
  with Image.open(io.BytesIO(data)) as image:
    return data, np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_what_viewers_show(orientation, kind):
  data, shown = turned(orientation, kind, (17, 33))
  for read in readers("x"):
    np.testing.assert_array_equal(read(data), shown)
  images.check_size(data, "x", shown.shape[1::-1])
  upright = images.upright_jpeg(data)
  assert (upright == data) == (orientation not in range(2, 9) or kind != "JPEG")
  np.testing.assert_array_equal(images.decode(upright, "x"), shown)
  halved = np.asarray(Image.fromarray(shown).reduce(2))
  found = images.decode(data, "x", 1)
  assert found.shape == halved.shape and abs(found.astype(int) - halved).mean() < 3


def test_labels_of_stored_pixels_are_refused():
  data, _ = turned(6)
  with pytest.raises(ValueError, match="16 x 32 pixels, but its annotation says 32 x 16"
                     ".*before its EXIF data turns it.*exiftool"):  # fmt: skip
    images.check_size(data, "x", (32, 16))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_broken_images_are_named(kind):
  data = encode(smooth(64, 64), kind)
  for broken in (b"", b"text", data[:30], data[: len(data) // 2]):
    with pytest.raises(ValueError, match=r"image 'a\.jpg' cannot be decoded"):
      images.decode(broken, "a.jpg")


def readers(name):
  """Both ways to pixels: of a data set, and of a user's photograph."""
  return (
    lambda data: images.decode(data, name),
    lambda data: photographs.read(_file(name, data), name),
  )


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(depth, "_told", set())


def _file(name, data):
  pathlib.Path(name).write_bytes(data)
  return name


def png(pixels, color, size=None):
  """16 bits per channel, which PIL does not write for colours; or only a header."""

  def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum

  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
  size = size or pixels.shape[1::-1]
  return b"".join(
    [
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 16, color, 0, 0, 0)),
      chunk(b"IDAT", zlib.compress(rows)),
      chunk(b"IEND", b""),
    ]
  )


def test_there_is_one_door_for_image_files():
  """What `opened` refuses is refused everywhere."""
  package = pathlib.Path(fskd_jax.__file__).parent
  found = set()
  for path in package.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      if isinstance(node, ast.Attribute) and ast.unparse(node) == "Image.open":
        found.add(path.relative_to(package).as_posix())
  assert found == {"data/images.py"}


def test_a_folder_holds_what_looks_like_images_and_nothing_hidden(tmp_path):
  names = ("b.PNG", "clip.mp4/a.jpg", "._b.PNG", "sub/._a.jpg", ".sub/c.png", "d.txt")
  for name in names:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
  wanted = [tmp_path / "b.PNG", tmp_path / "clip.mp4" / "a.jpg"]
  assert images.below(tmp_path) == wanted
  assert inputs.find_queries(tmp_path) == wanted
  for name in ("overlays/1.jpg", "clip.mp4", "predictions.csv"):
    (tmp_path / "found" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "found" / name).write_bytes(b"")
  assert inputs.find_queries(tmp_path) == wanted  # not the results of a prediction
  assert len(inputs.find_queries(tmp_path / "found" / "overlays")) == 1


def test_no_content_starts_another_program(tmp_path, monkeypatch):
  program = tmp_path / "gs"
  program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
  program.chmod(program.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
  eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
  with pytest.raises(Exception, match="gs"):
    Image.open(io.BytesIO(eps)).load()  # as PIL does it
  assert (tmp_path / "started").exists()
  (tmp_path / "started").unlink()
  for read in readers("cat.png"):
    with pytest.raises(images.ImageError, match=r"'cat\.png' .* not an image \(JPEG"):
      read(eps)
  assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("size", [(7072, 7071), (10**5, 10**5), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size):
  bomb = png(np.zeros((1, 1), int), 0, size)
  for read in readers("bomb.png"):
    with pytest.raises(images.ImageError, match=r"'bomb\.png' (is too large|has 7072)"):
      read(bomb)


def test_the_limit_is_the_users(monkeypatch):
  data = encode(smooth(20, 60), "PNG")
  monkeypatch.setenv(images.MAX_MEGAPIXELS, "0.0011")
  for read in readers("x.png"):
    with pytest.raises(ValueError, match="has 60 x 20 pixels, more than 0.0011 mill"):
      read(data)
  monkeypatch.setenv(images.MAX_MEGAPIXELS, "0.0012")
  for read in readers("x.png"):
    assert read(data).shape == (20, 60, 3)
  monkeypatch.setenv(images.MAX_MEGAPIXELS, "much")
  with pytest.raises(ValueError, match="FSKD_MAX_MEGAPIXELS is 'much', expected a num"):
    images.decode(data, "x.png")


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_pages_are_not_passed_over(kind):
  first, *others = (Image.fromarray(smooth(20, 30) // n) for n in (1, 2, 3))
  stream = io.BytesIO()
  first.save(stream, kind, save_all=True, append_images=others)
  for read in readers("stack"):
    with pytest.raises(images.ImageError, match="'stack' has 3 pages or frames, expec"):
      read(stream.getvalue())
  stream = io.BytesIO()
  first.save(stream, "MPO", save_all=True, append_images=others[:1])  # a phone's JPEG
  for read in readers("phone.jpg"):
    assert abs(read(stream.getvalue()).astype(int) - smooth(20, 30)).mean() < 5


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
  "kind", ["grey PNG", "grey TIFF", "RGB", "RGBA", "grey and alpha", "float", "int32"]
)
def test_cameras_of_any_depth_are_seen(bits, kind, caplog):
  ramp = np.linspace(0, 2**bits - 1, 30 * 20).round().astype(np.uint16).reshape(20, 30)
  opaque = np.full_like(ramp, 65535)
  data = {
    "RGB": lambda: png(np.stack([ramp] * 3, -1), 2),
    "RGBA": lambda: png(np.stack([ramp, ramp, ramp, opaque], -1), 6),
    "grey and alpha": lambda: png(np.stack([ramp, opaque], -1), 4),
    "float": lambda: encode(ramp.astype(np.float32), "TIFF"),
    "int32": lambda: encode(ramp.astype(np.int32), "TIFF"),
  }.get(kind, lambda: encode(ramp, kind.split()[-1]))()
  expected = ramp / (2**bits - 1) * 255
  with caplog.at_level(logging.WARNING):
    for read in readers("deep.png"):
      found = read(data)
      assert np.ptp(found, axis=-1).max() == 0
      assert abs(found[..., 0] - expected).max() <= 0.5
  assert caplog.text.count(f"{bits} bits, as in others") == (bits < 16)


@pytest.mark.parametrize(
  "values, said",
  [
    (np.linspace(0, 1, 12), ""),
    (np.linspace(-20, 35, 12), "-20 .. 35 of its pixels are taken as black .. white"),
    (np.linspace(0, 70000, 12), "0 .. 70000 of its"),
    (np.linspace(0, 1.5, 12), "0 .. 1.5 of its"),
  ],
)
def test_values_without_a_depth_go_from_black_to_white(values, said, caplog):
  data = encode(values.astype(np.float32).reshape(3, 4), "TIFF")
  for read in readers("float.tif"):
    expected = np.linspace(0, 255, 12).reshape(3, 4)
    assert abs(read(data)[..., 0] - expected).max() <= 0.51
  assert said in caplog.text and bool(caplog.text) == bool(said)


def test_pixels_that_are_no_numbers_are_black_or_refused():
  values = np.array([[np.nan, 0.5], [np.inf, 1]], np.float32)
  for read in readers("float.tif"):
    assert read(encode(values, "TIFF"))[..., 0].tolist() == [[0, 128], [0, 255]]
    with pytest.raises(images.ImageError, match="no pixel that is a finite number"):
      read(encode(np.full((2, 2), np.nan, np.float32), "TIFF"))


def test_a_black_image_stays_black(caplog):
  for read in readers("x.png"):
    assert not read(encode(np.zeros((5, 6), np.uint16), "PNG")).any()
  assert not caplog.text
