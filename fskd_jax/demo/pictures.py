"""Pictures of a visitor, kept encoded and decoded when they are needed."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fskd_jax.data import images
from fskd_jax.prediction import photographs

SIDE = 720
"""Longer side of drawn pictures, pixels."""

Point = tuple[float, float]


class Picture(NamedTuple):
  """An image of the user with its marks.

  Attributes:
    name: The name of its file.
    content: The encoded image.
    size: (width, height) of the image after rotation by EXIF.
    preview: The image, reduced to a longer side of at most twice `SIDE`.
    keypoints: (x, y) by name, in pixels of the image; only in support pictures.
    box: The box of the object; None for the whole image.
  """

  name: str
  content: bytes
  size: tuple[int, int]
  preview: UInt8[np.ndarray, "h w 3"]
  keypoints: Mapping[str, Point] = {}
  box: tuple[float, ...] | None = None

  @property
  def weight(self) -> int:
    """The size in memory, bytes; copies with other marks share it."""
    return len(self.content) + self.preview.nbytes


def read(path: pathlib.Path) -> Picture:
  """Reads a picture from a file.

  Raises:
    FileNotFoundError, ValueError: As for `photographs.read`; messages have the name of
      the file without its folder.
  """
  try:
    pixels = photographs.read(path, path.name)
    return _picture(path.name, pixels, path.read_bytes())
  except (ValueError, OSError) as error:
    raise ValueError(str(error).replace(str(path), path.name)) from error


def from_pixels(name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> Picture:
  """Returns a picture of an image in memory."""
  content = io.BytesIO()
  Image.fromarray(pixels).save(content, "PNG", compress_level=1)
  return _picture(name, pixels, content.getvalue())


class Opened(Sequence[np.ndarray]):
  """The images of pictures, each decoded whenever it is accessed.

  Memory holds a batch of photographs, but possibly not all of them.
  """

  def __init__(self, pictures: Sequence[Picture]):
    """Keeps the pictures without decoding them."""
    self._pictures = pictures

  def __len__(self) -> int:
    """Returns the number of pictures."""
    return len(self._pictures)

  @overload
  def __getitem__(self, place: int) -> np.ndarray: ...

  @overload
  def __getitem__(self, place: slice) -> list[np.ndarray]: ...

  def __getitem__(self, place):
    """Decodes one picture, or a list of pictures."""
    if isinstance(place, slice):
      return [_open(picture) for picture in self._pictures[place]]
    return _open(self._pictures[place])


def _open(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
  with images.opened(picture.content, picture.name) as image:
    return photographs.read(image, picture.name)


def _picture(name: str, pixels: UInt8[np.ndarray, "h w 3"], content: bytes) -> Picture:
  height, width = pixels.shape[:2]
  return Picture(name, content, (width, height), _preview(pixels))


def _preview(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
  """Reduces an image to exactly twice its drawn size if it is larger."""
  width, height = 2 * np.array(drawn_size(pixels.shape[1::-1]))
  if max(pixels.shape) <= max(width, height):
    return pixels
  reduced = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
  return np.asarray(reduced)


def drawn_size(size: Sequence[int]) -> tuple[int, int]:
  """Returns (width, height) of the drawing of an image of this size."""
  width, height = np.maximum(np.round(np.array(size) * SIDE / max(size)), 1).tolist()
  return int(width), int(height)
