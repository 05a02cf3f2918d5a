"""Reads the user's images (paths, arrays, PIL images) as RGB and cuts crops from them.

Like the images of a data set (`data.images`), a photograph is rotated by its EXIF
orientation, because its keypoints were clicked in a viewer that rotated it.
"""

import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from fskd_jax import geometry
from fskd_jax.data import depth, images
from fskd_jax.episode import BORDER_COLOR


class Decoded(NamedTuple):
  """A photograph that was decoded before, so that its pixels need no second reading.

  Attributes:
    name: Name in messages.
    pixels: RGB, as returned by `read`.
  """

  name: str
  pixels: UInt8[np.ndarray, "h w 3"]


Photograph = str | os.PathLike | np.ndarray | Image.Image | Decoded
"""A file, an array that `read` takes, a PIL image, or a photograph read before."""

_MAX_LEVEL = 12
"""Maximum number of halvings, enough for any image."""

_FRAME = 2
"""Width of the frame in the border's colour, pixels."""


def read(photograph: Photograph, name: str) -> UInt8[np.ndarray, "h w 3"]:
  """Returns the pixels of a photograph, rotated by its EXIF orientation.

  Images of 16 bits per channel are scaled by the range in use (`depth.scaled`).
  Transparent pixels get the colour of the border around crops.

  Args:
    photograph: A file; an array [h w] or [h w 1, 3 or 4] (grey, RGB, RGB with alpha) of
      uint8, uint16, or float in 0..1; a PIL image; or a photograph read before.
    name: Name of the photograph in messages.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The photograph is not an image, broken, too large or empty, has several
      pages, or is an array of another kind.
  """
  if isinstance(photograph, Decoded):
    return photograph.pixels
  if isinstance(photograph, np.ndarray):
    return _from_array(photograph, name)
  if isinstance(photograph, Image.Image):
    return _from_pil(photograph, name)
  with images.opened(pathlib.Path(photograph), name) as image:
    return _from_pil(image, name)


def describe(photograph: Photograph, index: int, kind: str) -> str:
  """Returns the name of a photograph in messages: its path, or its number.

  Args:
    photograph: One of several photographs.
    index: Its index among them, from 0.
    kind: "support" or "query".
  """
  if isinstance(photograph, Decoded):
    return photograph.name
  if isinstance(photograph, (str, os.PathLike)):
    return os.fspath(photograph)
  return f"{kind} image {index + 1}"


def crop(
  image: UInt8[np.ndarray, "h w 3"], to_original: Float[np.ndarray, "2 3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
  """Cuts a square crop as the executors do, up to one grey level of rounding.

  A large photograph is halved as often as necessary; the executors halve three times at
  most.

  Args:
    image: RGB.
    to_original: Matrix from pixels of the crop to pixels of the image.
    side: Side of the crop, pixels.
  """
  matrix = np.asarray(to_original, np.float64)
  level = geometry.reduction_level(matrix, _MAX_LEVEL)
  matrix = geometry.to_level(matrix, level)
  left, top, right, bottom = _seen(matrix, side, image.shape[1::-1], step=2**level)
  part = image[top * 2**level : bottom * 2**level, left * 2**level : right * 2**level]
  picture = Image.fromarray(part).reduce(2 ** int(level))
  # PIL repeats the edge pixels; with a frame it blends into the border's colour.
  framed = ImageOps.expand(picture, _FRAME, BORDER_COLOR)
  matrix[:, 2] += [_FRAME - left, _FRAME - top]
  # PIL puts the centre of the first pixel at (0.5, 0.5).
  matrix[:, 2] += 0.5 - matrix[:, :2].sum(axis=1) / 2
  return np.asarray(
    framed.transform(
      (side, side),
      Image.Transform.AFFINE,
      tuple(matrix.ravel()),
      Image.Resampling.BILINEAR,
      fillcolor=BORDER_COLOR,
    )
  )


def _seen(
  matrix: Float[np.ndarray, "2 3"], side: int, size: tuple[int, int], step: int
) -> tuple[int, int, int, int]:
  """Returns the part of a reduced image that a crop shows: left, top, right, bottom.

  It has some pixels more, so that no pixel of the crop is blended with its frame.

  Args:
    matrix: Matrix from pixels of the crop to pixels of the reduced image.
    side: Side of the crop, pixels.
    size: (width, height) of the image before it is reduced.
    step: Pixels of the image that are one of the reduced image.
  """
  end = side - 1
  corners = geometry.apply_affine(
    matrix, np.array([(0, 0), (end, 0), (0, end), (end, end)])
  )
  whole = -(-np.array(size) // step)
  low = np.floor(corners.min(0)).astype(int) - _FRAME - 1
  high = np.ceil(corners.max(0)).astype(int) + _FRAME + 2
  left, top = np.clip(low, 0, whole - 1).tolist()
  right, bottom = np.clip(high, 1, whole).tolist()
  return left, top, max(right, left + 1), max(bottom, top + 1)


def _from_array(array: np.ndarray, name: str) -> UInt8[np.ndarray, "h w 3"]:
  if array.ndim == 2:
    array = array[..., None]
  if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
    raise ValueError(
      f"{name}: an array of shape {array.shape}, expected [height, width] or "
      "[height, width, 1, 3 or 4]"
    )
  if array.dtype == np.uint16:
    array = depth.scaled(array, name)
  if np.issubdtype(array.dtype, np.floating):
    if not (array.min() >= 0 and array.max() <= 1):  # nan is neither
      raise ValueError(
        f"{name}: floating-point values {array.min():g} .. {array.max():g}, expected "
        "0 .. 1 (or uint8)"
      )
    array = (array * 255).round().astype(np.uint8)
  if array.dtype != np.uint8:
    raise ValueError(f"{name}: {array.dtype} values, expected uint8, uint16 or float")
  if array.shape[-1] == 4:
    return _opaque(Image.fromarray(array))
  return array if array.shape[-1] == 3 else array.repeat(3, axis=-1)


def _from_pil(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
  return _opaque(images.pixels(image, name))


def _opaque(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  if image.has_transparency_data:
    image = image.convert("RGBA")
    under: Any = Image.new("RGBA", image.size, (*BORDER_COLOR, 255))
    image = Image.alpha_composite(under, image)
  return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
