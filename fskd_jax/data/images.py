"""Decodes images to RGB pixels, with PIL only.

The package opens every image file by `opened`, which bounds the cost of hostile files:
it accepts a few formats, none of which starts another program, and limits the size.

An image is what viewers show: turned as its EXIF data says. Sizes, labels and pixels of
training and prediction all mean the turned image.
"""

import contextlib
import io
import os
import pathlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from fskd_jax.data import depth

SUFFIXES = frozenset(
  ".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm .pnm".split()
)
"""Suffixes of the images that are taken from a folder."""

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""Formats that are read, recognised by content and not by suffix. PIL knows forty more;
its reader of EPS starts Ghostscript."""

MAX_MEGAPIXELS = "FSKD_MAX_MEGAPIXELS"
"""Environment variable with the largest number of megapixels that is read, default 50.
Reading takes up to 27 bytes per pixel, whatever the size of the file."""

_BROKEN = (
  OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError,
  OverflowError, struct.error,
)  # fmt: skip
"""Errors of PIL for data that is not an image, or is incomplete."""


OF_STORED_PIXELS = (
  ", the size before its EXIF data turns it: if the labels are of the stored pixels, "
  "remove the turn (exiftool -Orientation= FILE)"
)
"""End of messages on labels of another size than the image shown."""

_EXIF_WITHIN = 2**17
"""Bytes at the start of a file among which its EXIF data begins."""


_TURNS: dict[Any, Image.Transpose] = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
_ACROSS = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]


class ImageError(ValueError):
  """An image that cannot be read or is refused; the message names it."""


def has_suffix(name: str) -> bool:
  """Whether a file name ends as that of an image."""
  return pathlib.PurePath(name).suffix.lower() in SUFFIXES


def is_image(path: pathlib.Path) -> bool:
  """Whether a path is that of an image, going by its name.

  Names with a dot in front are none: macOS keeps data of its own in ._a.jpg.
  """
  return has_suffix(path.name) and not path.name.startswith(".")


def below(
  folder: pathlib.Path, is_wanted: Callable[[pathlib.Path], bool] = is_image
) -> list[pathlib.Path]:
  """Returns the images in a folder and its sub-folders, sorted.

  Sub-folders with a dot in front are left out: Jupyter keeps copies of files there.

  Args:
    folder: The folder.
    is_wanted: Which files are returned, by their paths.
  """
  paths = ((path, path.relative_to(folder).parent.parts) for path in folder.rglob("*"))
  return sorted(
    path
    for path, folders in paths
    if is_wanted(path)
    and not path.is_dir()  # clip.mp4/000012.png are the frames of a video
    and not any(name.startswith(".") for name in folders)
  )


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


def is_turned(image: Image.Image) -> bool:
  """Returns whether EXIF data turns or mirrors an image, not decoded yet."""
  return _orientation(image) in _TURNS


def shown_size(image: Image.Image) -> tuple[int, int]:
  """Returns the (width, height) of an image after its EXIF data turned it."""
  width, height = image.size
  return (height, width) if _turn(image) in _ACROSS else (width, height)


def pixels(image: Image.Image, name: str) -> Image.Image:
  """Returns an image with 8 bits per channel, turned as its EXIF data says.

  Raises:
    ImageError: No pixel of a floating-point image is a finite number.
  """
  turn, again = _turn(image), None
  if depth.is_deep_color(image):
    file: Any = getattr(image, "fp", None)
    file.seek(0)
    again = Image.open(io.BytesIO(file.read()), formats=FORMATS)
  try:
    shown = depth.eight_bits(image, again, name)
  except depth.NoPixelError as error:
    raise ImageError(str(error)) from error
  return shown if turn is None else shown.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
  # PIL turns TIFF files itself.
  return None if image.format == "TIFF" else _TURNS.get(_orientation(image))


def _orientation(image: Image.Image) -> Any:
  # PIL would decode a PNG file to search for EXIF data behind its pixels.
  if image.format == "PNG" and not {"exif", "Raw profile type exif"} & {*image.info}:
    return 1
  try:
    return image.getexif().get(ExifTags.Base.Orientation, 1)
  except _BROKEN:  # nobody turns by damaged EXIF data
    return 1


def upright_jpeg(data: bytes) -> bytes:
  """Returns the data of an image, but of a turned JPEG file the turned pixels as PPM.

  It is for decoders of JPEG data that do not know EXIF data; the rest is left to
  `decode`.
  """
  if not data.startswith(b"\xff\xd8") or b"Exif\0" not in data[:_EXIF_WITHIN]:
    return data
  with opened(data, "") as image:
    if not is_turned(image):
      return data
    shown = pixels(image, "").convert("RGB")
  return _ppm(shown)


def reduced(data: bytes, name: str, size: tuple[int, int]) -> bytes:
  """Returns an image as PPM, reduced to the (width, height) in pixels.

  Raises:
    ImageError: As for `opened` and `pixels`.
  """
  with opened(data, name) as image:
    if image.format == "JPEG" and not is_turned(image):
      image.draft(image.mode, size)  # halved while it is decoded, but not below
    shown = pixels(image, name).convert("RGB")
  return _ppm(shown.resize(size, Image.Resampling.BOX))


def _ppm(image: Image.Image) -> bytes:
  return b"P6\n%d %d\n255\n" % image.size + image.tobytes()


def decode(data: bytes, name: str, level: int = 0) -> UInt8[np.ndarray, "h w 3"]:
  """Decodes an image, halved `level` times.

  Pixel i of the result covers the pixels i * t .. i * t + t - 1 of the turned image,
  with t = 2**level, so its sides are ceil(width / t) and ceil(height / t). JPEG data is
  reduced while it is decoded, which costs less than decoding it in full.

  Raises:
    ImageError: As for `opened` and `pixels`.
  """
  with opened(data, name) as image:
    width, height = image.size
    # JPEG decoders halve three times at most, not below one pixel, and from the corner
    # of the stored image.
    draft = image.format == "JPEG" and level <= 3 and min(width, height) >= 2**level
    draft = draft and not is_turned(image)
    if draft:
      image.draft(image.mode, (width // 2**level, height // 2**level))
    shown = pixels(image, name).convert("RGB")
  return np.asarray(shown if draft else shown.reduce(2**level))


def check_size(data: bytes, name: str, size: tuple[int, int]) -> None:
  """Compares the size of an image as shown with the (width, height) expected.

  Raises:
    ValueError: The size differs, or as for `opened`.
  """
  with opened(data, name) as image:
    found, stored = shown_size(image), image.size
  if found != tuple(size):
    hint = OF_STORED_PIXELS if stored == tuple(size) else ""
    raise ValueError(
      f"image {name!r} has {found[0]} x {found[1]} pixels, but its annotation says "
      f"{size[0]} x {size[1]}{hint}"
    )


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
