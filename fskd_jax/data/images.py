"""Encoded images -> RGB pixels, with PIL only.

Pixels come as they are stored: EXIF rotation is not applied, because annotations
refer to the stored pixels.
"""

import io
import struct

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""What is taken for an image in the folder of a data set."""

BROKEN = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What PIL raises on data that is no image, or breaks off."""


def decode(data: bytes, name: str, level: int = 0) -> UInt8[np.ndarray, "h w 3"]:
  """Decodes an image, halved `level` times.

  Pixel i of the result covers the pixels i * t .. i * t + t - 1 of the image, with
  t = 2**level, so its sides are ceil(width / t) and ceil(height / t). JPEG data is
  reduced while it is decoded, which costs less than decoding it in full.

  Raises:
    ValueError: not an image, or broken; says which one by `name`.
  """
  try:
    with Image.open(io.BytesIO(data)) as image:
      width, height = image.size
      # JPEG decoders halve three times at most, and not below one pixel.
      draft = image.format == "JPEG" and level <= 3 and min(width, height) >= 2**level
      if draft:
        image.draft(image.mode, (width // 2**level, height // 2**level))
      pixels = image.convert("RGB")
  except BROKEN as error:
    raise ValueError(f"image {name!r} cannot be decoded: {error}") from error
  return np.asarray(pixels if draft else pixels.reduce(2**level))


def check_size(data: bytes, name: str, size: tuple[int, int]) -> None:
  """Compares the size in an image's header with the (width, height) expected.

  Raises:
    ValueError: another size, or not an image.
  """
  try:
    with Image.open(io.BytesIO(data)) as image:
      found = image.size
  except BROKEN as error:
    raise ValueError(f"image {name!r} cannot be decoded: {error}") from error
  if found != tuple(size):
    raise ValueError(
      f"image {name!r} has {found[0]} x {found[1]} stored pixels, but its annotation"
      f" says {size[0]} x {size[1]}"
    )
