"""Draws keypoints on images: dots, rings, ellipses, bones and numbers.

It draws with PIL at twice the size and halves the result: videos have thousands of
frames, for which matplotlib would be too slow.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from fskd_jax.pictures.style import keypoint_colors

PAPER, INK, FAINT = (250, 250, 250), (30, 30, 30), (150, 150, 150)
"""Colours of the background and of texts."""

_LONGEST = 200
_ELLIPSE = 2.0
"""Radii of the ellipses, standard deviations."""

_FILLS = 0.6  # part of the image's side below which objects are cut out
_AROUND = 1.6  # side of what is cut out, in sides of the objects' box


class Marks(NamedTuple):
  """An image and the keypoints to draw on it, in its pixels.

  Attributes:
    title: The text above the image.
    image: The image, RGB.
    keypoints: [n 2], (x, y); NaN is not drawn.
    filled: bool [n], whether each keypoint is a dot; the others are rings.
    covariance: [n 2 2], drawn as ellipses of two standard deviations, or None.
    skeleton: Pairs of keypoint numbers, joined by lines if both are dots.
    label: A text beside the keypoints, such as the number of the object.
    box: (x, y, w, h) of the object, for `cut_out`; or None.
    others: Further objects of the image; their titles and images are not used.
  """

  title: str
  image: UInt8[np.ndarray, "h w 3"]
  keypoints: Float[np.ndarray, "n 2"]
  filled: Bool[np.ndarray, " n"]
  covariance: Float[np.ndarray, "n 2 2"] | None = None
  skeleton: Sequence[tuple[int, int]] = ()
  label: str = ""
  box: tuple[float, ...] | None = None
  others: tuple["Marks", ...] = ()


def cut_out(marks: Marks) -> Marks:
  """Returns the part of an image around its objects, if they are small in it."""
  boxes = np.array([m.box for m in (marks, *marks.others) if m.box is not None])
  if not len(boxes):
    return marks
  size = np.array(marks.image.shape[1::-1])
  low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
  side = _AROUND * (high - low).max()
  if side > _FILLS * size.max():
    return marks
  left, top = np.clip((low + high - side) / 2, 0, size - 1).astype(int).tolist()
  right, bottom = np.clip((low + high + side) / 2, 1, size).astype(int).tolist()
  image = np.ascontiguousarray(marks.image[top:bottom, left:right])
  one, *others = (
    m._replace(image=image, keypoints=m.keypoints - [left, top], others=())
    for m in (marks, *marks.others)
  )
  return one._replace(others=tuple(others))


def reduced(marks: Marks, side: int) -> Marks:
  """Returns marks on a smaller image, for several pictures of a large one.

  Args:
    marks: The image and its keypoints.
    side: Longer side that the image keeps at least, pixels, unless it is shorter.
  """
  factor = max(marks.image.shape) // side
  if factor < 2:
    return marks
  image = np.asarray(Image.fromarray(marks.image).reduce(factor))
  one, *others = (
    m._replace(
      image=image,
      keypoints=(m.keypoints + 0.5) / factor - 0.5,
      covariance=None if m.covariance is None else m.covariance / factor**2,
      box=None if m.box is None else tuple(x / factor for x in m.box),
      others=(),
    )
    for m in (marks, *marks.others)
  )
  return one._replace(others=tuple(others))


def draw_marks(marks: Marks, side: int, is_numbered: bool = False) -> Image.Image:
  """Draws keypoints on an image.

  Args:
    marks: The image and its keypoints.
    side: Longer side to which the image is enlarged or reduced.
    is_numbered: Whether keypoints have their number beside them, from 1.
  """
  finer = 2 if side <= 1000 else 1
  height, width = marks.image.shape[:2]
  scale = side / max(height, width)
  size = (max(round(width * scale), 1), max(round(height * scale), 1))
  zoom = np.array(size) * finer / (width, height)
  picture = Image.fromarray(marks.image).resize(
    (size[0] * finer, size[1] * finer), Image.Resampling.BICUBIC
  )
  draw = ImageDraw.Draw(picture, "RGBA")
  boxes = [found.box for found in (marks, *marks.others) if found.box is not None]
  smallest = min((scale * max(box[2:]) for box in boxes), default=side)
  radius = finer * max(min(side / 90, smallest / 30), 2.5)
  for found in (marks, *marks.others):
    _draw_object(draw, found, zoom, radius)
    if is_numbered:
      _draw_numbers(draw, (found.keypoints + 0.5) * zoom, radius)
  return picture.reduce(finer)


def _draw_object(
  draw: ImageDraw.ImageDraw, marks: Marks, zoom: np.ndarray, radius: float
) -> None:
  """Draws the keypoints of one object; `zoom` is in pixels of the picture."""
  points = (marks.keypoints + 0.5) * zoom - 0.5
  colors = [tuple(c) for c in (255 * keypoint_colors(len(points))).astype(int).tolist()]
  for a, b in marks.skeleton:
    if marks.filled[[a, b]].all() and np.isfinite(points[[a, b]]).all():
      line = [*points[a], *points[b]]
      draw.line(line, fill=(0, 0, 0, 120), width=round(radius))
      draw.line(line, fill=(255, 255, 255, 220), width=round(radius / 2))
  order = np.argsort(marks.filled, kind="stable")  # rings first, dots over them
  for n in order[np.isfinite(points[order]).all(-1)].tolist():
    if marks.covariance is not None and marks.filled[n]:
      outline = _ellipse(points[n], marks.covariance[n] * np.outer(zoom, zoom))
      draw.polygon(outline, fill=(*colors[n], 60), outline=(*colors[n], 220))
    dot(draw, points[n], radius, colors[n], bool(marks.filled[n]))
  there = points[np.isfinite(points).all(-1)]
  if marks.label and len(there):
    font = font_of(round(6 * radius))
    corner = there.min(0) - 7 * radius
    place = tuple(np.maximum(corner, 0).tolist())
    draw.text(
      place, marks.label, PAPER, font, stroke_width=round(radius), stroke_fill=INK
    )


def _draw_numbers(draw: ImageDraw.ImageDraw, points: np.ndarray, radius: float) -> None:
  font, width = font_of(round(2.2 * radius)), max(round(radius / 3), 1)
  for number, (x, y) in enumerate(points.tolist(), 1):
    if np.isfinite([x, y]).all():
      place = x + 1.3 * radius, y - 3 * radius
      draw.text(place, f"{number}", PAPER, font, stroke_width=width, stroke_fill=INK)


def dot(
  draw: ImageDraw.ImageDraw,
  point: np.ndarray,
  radius: float,
  color: tuple[int, ...],
  is_filled: bool,
) -> None:
  """Draws a dot or a ring, with black and white edges that show on any background."""
  if is_filled:
    _circle(draw, point, radius * 1.25, fill=(0, 0, 0, 255))
    _circle(draw, point, radius * 1.1, fill=(255, 255, 255, 255))
    _circle(draw, point, radius * 0.9, fill=(*color, 255))
  else:
    line = max(round(radius / 3), 1)
    _circle(draw, point, radius + line, outline=(0, 0, 0, 160), width=3 * line)
    _circle(draw, point, radius, outline=(*color, 255), width=line)


def _circle(draw: ImageDraw.ImageDraw, point, radius: float, **style) -> None:
  x, y = point
  draw.ellipse((x - radius, y - radius, x + radius, y + radius), **style)


def _ellipse(
  center: Float[np.ndarray, "2"], covariance: Float[np.ndarray, "2 2"]
) -> list[tuple[float, float]]:
  values, axes = np.linalg.eigh(covariance)
  angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
  circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
  ring = circle * (_ELLIPSE * np.sqrt(np.maximum(values, 0)))
  return [tuple(point) for point in (ring @ axes.T + center).tolist()]


def write(
  draw: ImageDraw.ImageDraw,
  place: tuple[int, int],
  text: str,
  width: int,
  ink: tuple[int, int, int] = INK,
) -> None:
  """Writes a text, cut to a width, in pixels."""
  font = font_of(13)
  draw.text(place, short(text, width, font), fill=ink, font=font)


def short(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
  """Returns a text without characters that cannot be drawn, its middle cut to fit."""
  text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
  if len(text) > _LONGEST:  # the search below takes quadratic time
    text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
  shown, kept = text, len(text)
  while font.getlength(shown) > width and kept > 2:
    kept -= 1
    shown = f"{text[: kept // 2]}…{text[len(text) - kept + kept // 2 :]}"
  return shown


@functools.cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
  """Returns the font of a size in pixels."""
  folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
  return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
