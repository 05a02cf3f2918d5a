"""Decodes images to RGB pixels, with PIL only.

Every image file of the package is opened by `opened`, which bounds what a file can
cost: a few formats, none of which starts another program, and a largest size.

Pixels come as they are stored: EXIF rotation is not applied, because annotations
refer to the stored pixels.
"""

import contextlib
import io
import logging
import os
import pathlib
import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

_log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""What is taken for an image in the folder of a data set."""

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""What is read, by content and not by suffix. PIL knows forty more; its reader of EPS
starts Ghostscript."""

MAX_MEGAPIXELS = "FSKD_MAX_MEGAPIXELS"
"""Environment variable: the largest image that is read, 50 if it is not set. Reading
takes up to 27 bytes for each pixel, whatever the size of the file."""

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras put into 16."""

_BROKEN = (
  OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError,
  OverflowError, struct.error,
)  # fmt: skip
"""What PIL raises on data that is no image, or breaks off."""


class ImageError(ValueError):
  """An image that cannot be read, or that is not taken; the message names it."""


@contextlib.contextmanager
def opened(source: bytes | os.PathLike, name: str) -> Iterator[Image.Image]:
  """Opens an image; its pixels are decoded on use, inside the context.

  Args:
    source: a file, or what is in one.
    name: what errors call it.

  Raises:
    FileNotFoundError: there is no such file.
    ImageError: it is none of `FORMATS`, broken (also while it is used), larger than
      the limit, or holds several pages.
  """
  if not isinstance(source, bytes) and not pathlib.Path(source).is_file():
    raise FileNotFoundError(f"{name}: there is no file {source}")
  try:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=FORMATS) as image:
      _check(image, name)
      yield image
  except ImageError:
    raise
  except UnidentifiedImageError as error:
    raise _broken(name, f"not an image ({', '.join(FORMATS)})") from error
  except Image.DecompressionBombError as error:
    raise ImageError(f"image {name!r} is too large: {error}") from error
  except _BROKEN as error:
    raise _broken(name, error) from error


def decode(data: bytes, name: str, level: int = 0) -> UInt8[np.ndarray, "h w 3"]:
  """Decodes an image, halved `level` times.

  Pixel i of the result covers the pixels i * t .. i * t + t - 1 of the image, with
  t = 2**level, so its sides are ceil(width / t) and ceil(height / t). JPEG data is
  reduced while it is decoded, which costs less than decoding it in full.

  Raises:
    ImageError: as of `opened` and `eight_bits`; says which one by `name`.
  """
  with opened(data, name) as image:
    width, height = image.size
    # JPEG decoders halve three times at most, and not below one pixel.
    draft = image.format == "JPEG" and level <= 3 and min(width, height) >= 2**level
    if draft:
      image.draft(image.mode, (width // 2**level, height // 2**level))
    pixels = eight_bits(image, name).convert("RGB")
  return np.asarray(pixels if draft else pixels.reduce(2**level))


def check_size(data: bytes, name: str, size: tuple[int, int]) -> None:
  """Compares the size in an image's header with the (width, height) expected.

  Raises:
    ValueError: another size, or as of `opened`.
  """
  with opened(data, name) as image:
    found = image.size
  if found != tuple(size):
    raise ValueError(
      f"image {name!r} has {found[0]} x {found[1]} stored pixels, but its annotation"
      f" says {size[0]} x {size[1]}"
    )


def eight_bits(image: Image.Image, name: str, turned: bool = False) -> Image.Image:
  """Returns an image of 8 bits per channel.

  Of more bits, the range counts that is in use (`scaled`). PIL keeps 8 of 16 bits per
  colour: a colour image that uses 12 of them comes out in 16 levels.

  Args:
    image: of any mode.
    name: what messages call it.
    turned: as the EXIF data says.

  Raises:
    ImageError: floating-point or 32-bit pixels.
  """
  # Of an image in memory nothing is left to decode, and so no tile.
  is_deep = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
  if turned:
    image = ImageOps.exif_transpose(image)
  if image.mode == "F":
    raise ImageError(f"{name}: floating-point pixels, expected 8 or 16 bits")
  if image.mode.startswith("I"):
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
      raise ImageError(f"{name}: 32-bit pixels, expected 8 or 16 bits")
    return Image.fromarray((scaled(values, name) * 255).round().astype(np.uint8))
  if is_deep and image.mode in ("RGB", "RGBA"):
    pixels = np.array(image)
    colors = pixels[..., :3]
    high = scaled(colors.astype(np.uint16) * 257, name)
    pixels[..., :3] = (high * 255).round().astype(np.uint8)
    return Image.fromarray(pixels)
  return image


def scaled(values: Integer[np.ndarray, "..."], name: str) -> Float[np.ndarray, "..."]:
  """Returns 16-bit values as 0..1, by the bits that they use: 8, 10, 12, 14 or 16.

  Cameras of 12 bits store 0..4095, which would come out black. The log tells, once for
  each number of bits.

  Args:
    values: 0..65535.
    name: of the image, for the log.
  """
  used = int(values.max()).bit_length()
  depth = next(bits for bits in _DEPTHS if used <= bits)
  if used == 0:
    depth = 16
  if depth < 16 and depth not in _told:
    _told.add(depth)
    _log.warning(
      "%s: its 16-bit pixels use %d bits: taken as 0 .. %d, as in others like it",
      name, depth, 2**depth - 1,
    )  # fmt: skip
  return values / (2**depth - 1)


_told: set[int] = set()


def _check(image: Image.Image, name: str) -> None:
  megapixels = image.width * image.height / 1e6
  if megapixels > _limit():
    raise ImageError(
      f"image {name!r} has {image.width} x {image.height} pixels, more than "
      f"{_limit():g} million; the environment variable {MAX_MEGAPIXELS} sets the limit"
    )
  # The other pictures in a JPEG file (MPO) are previews of the first.
  pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
  if pages > 1:
    raise ImageError(
      f"image {name!r} has {pages} pages or frames, expected one: save the one that is "
      "meant as a file of its own, or all of them as a video"
    )


def _limit() -> float:
  text = os.environ.get(MAX_MEGAPIXELS, "50")
  try:
    return float(text)
  except ValueError as error:
    raise ImageError(f"{MAX_MEGAPIXELS} is {text!r}, expected a number") from error


def _broken(name: str, why: object) -> ImageError:
  return ImageError(f"image {name!r} cannot be decoded: {why}")
