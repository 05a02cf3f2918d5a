"""Decodes images to RGB pixels, with PIL only.

The package opens every image file by `opened`, which bounds the cost of hostile files:
it accepts a few formats, none of which starts another program, and limits the size.

Pixels are those stored: EXIF rotation is not applied, because annotations refer to the
stored pixels.
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

SUFFIXES = frozenset(
  ".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm .pnm".split()
)
"""Suffixes of the image files in the folder of a data set."""

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""Formats that are read, recognised by content and not by suffix. PIL knows forty more;
its reader of EPS starts Ghostscript."""

MAX_MEGAPIXELS = "FSKD_MAX_MEGAPIXELS"
"""Environment variable with the largest number of megapixels that is read, default 50.
Reading takes up to 27 bytes per pixel, whatever the size of the file."""

_DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths that cameras store in 16 bits."""

_BROKEN = (
  OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError,
  OverflowError, struct.error,
)  # fmt: skip
"""Errors of PIL for data that is not an image, or is incomplete."""


class ImageError(ValueError):
  """An image that cannot be read or is refused; the message names it."""


@contextlib.contextmanager
def opened(source: bytes | os.PathLike, name: str) -> Iterator[Image.Image]:
  """Opens an image; its pixels are decoded on use, inside the context.

  Args:
    source: The path of a file, or its content.
    name: The name of the image in messages.

  Raises:
    FileNotFoundError: There is no such file.
    ImageError: The image has none of the `FORMATS`, is broken (possibly found only
      inside the context), larger than the limit, or has several pages.
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
    ImageError: As for `opened` and `eight_bits`.
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
    ValueError: The size differs, or as for `opened`.
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

  Deeper pixels are scaled by the number of bits they use (`scaled`). PIL keeps only the
  upper 8 of 16 bits of colour images: one that uses 12 bits comes out in 16 levels.

  Args:
    image: An image of any mode.
    name: The name of the image in messages.
    turned: Whether to rotate the image by its EXIF data.

  Raises:
    ImageError: The pixels are floating-point or have 32 bits.
  """
  # An image in memory has no tile: nothing is left to decode.
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
  """Scales 16-bit values to 0..1 by the bits that they use: 8, 10, 12, 14 or 16.

  Cameras with 12 bits store 0..4095, which would otherwise come out black. The first
  image of each depth is logged.

  Args:
    values: Values in 0..65535.
    name: The name of the image in the log.
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
