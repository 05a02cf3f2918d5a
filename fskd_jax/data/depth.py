"""Makes 8 bits per channel of images of any depth, alike for training and prediction.

Values are scaled by the number of bits that an image uses, because cameras store 10 or
12 bits in 16, and those would come out black. What has no depth (negative values, or
fractions above 1) is scaled from its own least to its own greatest value.
"""

import logging
from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt16
from PIL import Image

_log = logging.getLogger(__name__)

_WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Greatest values of the depths that cameras store in 16 bits."""


class NoPixelError(ValueError):
  """An image whose pixels are all no numbers."""


_told: set[object] = set()


def is_deep_color(image: Image.Image) -> bool:
  """Returns whether an image has 16 bits in several channels, not decoded yet."""
  # An image in memory has no tile: nothing is left to decode.
  return image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))


def eight_bits(image: Image.Image, again: Any, name: str) -> Image.Image:
  """Returns an image of 8 bits per channel.

  Args:
    image: An image of any mode.
    again: The same file, opened once more, if `is_deep_color`; else None.
    name: The name of the image in messages.

  Raises:
    NoPixelError: No pixel of a floating-point image is a finite number.
  """
  if again is not None:
    values = _deep_colors(image, again)
    pixels = (scaled(values[..., :3], name) * 255).round()
    pixels = np.concatenate([pixels, values[..., 3:] >> 8], -1)
    return Image.fromarray(pixels.astype(np.uint8))
  if image.mode == "F" or image.mode.startswith("I"):
    pixels = (scaled(np.asarray(image), name) * 255).round()
    return Image.fromarray(pixels.astype(np.uint8))
  return image


def scaled(values: Num[np.ndarray, "..."], name: str) -> Float[np.ndarray, "..."]:
  """Scales the values of an image to 0..1, from black to white as of `limits`.

  The first image of each kind is logged.

  Args:
    values: Values of any type; those that are not finite become 0.
    name: The name of the image in the log.

  Raises:
    NoPixelError: No value is finite.
  """
  low, high = limits(values, name)
  if (low, high) not in ((0, 1), (0, 2**16 - 1)):
    kind = high if low == 0 and high in _WHITES else "range"
    if kind not in _told:
      _told.add(kind)
      _log.warning(
        "%s: %s .. %s of its pixels are taken as black .. white, %s",
        name, f"{low:g}", f"{high:g}",
        "its own range, as in others without a known depth" if kind == "range"
        else f"{int(high).bit_length()} bits, as in others like it",
      )  # fmt: skip
  known = np.where(np.isfinite(values), values, low)
  return (known - low) / ((high - low) or 1)


def limits(values: Num[np.ndarray, "..."], name: str) -> tuple[float, float]:
  """Returns the values that become black and white.

  Whole numbers go from 0 to the greatest of 8, 10, 12, 14 or 16 bits, whichever the
  image uses; fractions in 0..1 from 0 to 1; everything else from the least to the
  greatest value of the image.

  Args:
    values: Values of any type.
    name: The name of the image in messages.

  Raises:
    NoPixelError: No value is finite.
  """
  finite = values[np.isfinite(values)]
  if not finite.size:
    raise NoPixelError(f"image {name!r} has no pixel that is a finite number")
  low, high = float(finite.min()), float(finite.max())
  if low >= 0 and high <= 1 and values.dtype.kind == "f":
    return 0, 1
  if low >= 0 and high < 2**16 and (finite == np.floor(finite)).all():
    # A black image of 16 bits tells nothing of its depth.
    return 0, next(white for white in _WHITES if high <= white) if high else 2**16 - 1
  return low, high


def _deep_colors(image: Image.Image, again: Any) -> UInt16[np.ndarray, "h w c"]:
  """Returns all bits of an image of 16 per channel.

  PIL keeps the upper 8 bits of several channels. Reading the file again as of the other
  byte order gives the lower ones.
  """
  tiles = str(getattr(image, "tile", ""))
  again.tile = [tile._replace(args=_other_order(tile.args)) for tile in again.tile]
  other = np.asarray(again).astype(np.uint16)
  if "LA;16B" in tiles:  # both bytes of grey, then both of alpha
    grey, alpha = (other[..., [i]] * 256 + other[..., [i + 1]] for i in (0, 2))
    return np.concatenate([grey] * 3 + [alpha], -1)
  return np.asarray(image).astype(np.uint16) * 256 + other


def _other_order(args: Any) -> Any:
  """Returns the arguments of a decoder with the names of byte orders exchanged."""
  if isinstance(args, tuple):
    return tuple(map(_other_order, args))
  if args == "LA;16B":
    return "RGBA"
  for order, other in ((";16B", ";16L"), (";16L", ";16B"), (";16N", ";16B")):
    if isinstance(args, str) and args.endswith(order):
      return args.removesuffix(order) + other
  return args
