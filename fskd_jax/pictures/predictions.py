"""Draws predictions: support beside query, contact sheets, frames of a video.

It draws with PIL at twice the size and halves the result: videos have thousands of
frames, for which matplotlib would be too slow.
"""

import functools
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from fskd_jax.pictures.style import keypoint_colors

SIDE = 560
"""Longer side of a query image in `draw_prediction`, pixels."""

MAX_SUPPORTS = 3
"""Largest number of support images shown; more are counted."""

THUMBNAIL = 240
"""Longer side of a picture in a contact sheet, pixels."""

_GAP = 12
_TITLE = 24
_PAPER, _INK, _FAINT = (250, 250, 250), (30, 30, 30), (150, 150, 150)
_LEGEND_ROW = 18
_LONGEST = 200
_ELLIPSE = 2.0
"""Radii of the ellipses, standard deviations."""

_FOOTNOTE = (
  "dots: confident; rings: below the least confidence; ellipses: 2 standard deviations"
)


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
    others: Further objects of the image; their titles and images are not used.
  """

  title: str
  image: UInt8[np.ndarray, "h w 3"]
  keypoints: Float[np.ndarray, "n 2"]
  filled: Bool[np.ndarray, " n"]
  covariance: Float[np.ndarray, "n 2 2"] | None = None
  skeleton: Sequence[tuple[int, int]] = ()
  label: str = ""
  others: tuple["Marks", ...] = ()


def draw_prediction(
  supports: Sequence[Marks],
  query: Marks,
  names: Sequence[str],
  confidence: Float[np.ndarray, " n"],
) -> Image.Image:
  """Draws the support beside the query, and a legend of names and confidences."""
  shown = supports[:MAX_SUPPORTS]
  right = draw_marks(query, SIDE)
  height = max(right.height, SIDE // 2)
  side = (height - (len(shown) - 1) * _GAP) // len(shown)
  left = [draw_marks(marks, min(side, SIDE)) for marks in shown]
  legend = _legend(names, confidence, query, max(height, 240))
  width = max(picture.width for picture in left)
  canvas = Image.new(
    "RGB",
    (
      width + right.width + legend.width + 4 * _GAP,
      max(height, legend.height) + 2 * _TITLE + _GAP,
    ),
    _PAPER,
  )
  top, column = _TITLE + _GAP // 2, width + 2 * _GAP
  for i, picture in enumerate(left):
    canvas.paste(picture, (_GAP, top + i * (side + _GAP)))
  canvas.paste(right, (column, top))
  canvas.paste(legend, (column + right.width + _GAP, top))
  more = f" and {len(supports) - 1} more" if len(supports) > 1 else ""
  draw = ImageDraw.Draw(canvas)
  _text(draw, (_GAP, 6), f"support: {shown[0].title}{more}", width)
  _text(draw, (column, 6), f"query: {query.title}", right.width + legend.width)
  _text(draw, (_GAP, canvas.height - _TITLE + 2), _FOOTNOTE, canvas.width, _FAINT)
  return canvas


def draw_contact_sheet(
  pictures: Sequence[tuple[str, Image.Image]],
) -> Image.Image:
  """Arranges pictures of at most `THUMBNAIL` pixels in a grid, each below its title."""
  columns = math.ceil(math.sqrt(1.5 * len(pictures)))
  rows = math.ceil(len(pictures) / columns)
  cell = (THUMBNAIL + _GAP, THUMBNAIL + _TITLE + _GAP)
  sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _PAPER)
  draw = ImageDraw.Draw(sheet)
  for place, (title, picture) in enumerate(pictures):
    x, y = (place % columns) * cell[0] + _GAP, (place // columns) * cell[1] + _GAP
    sheet.paste(picture, (x + (THUMBNAIL - picture.width) // 2, y + _TITLE))
    _text(draw, (x, y + 4), title, THUMBNAIL)
  return sheet


def draw_marks(marks: Marks, side: int) -> Image.Image:
  """Draws keypoints on an image, enlarged or reduced to a longer side of `side`."""
  finer = 2 if side <= 1000 else 1
  height, width = marks.image.shape[:2]
  scale = side / max(height, width)
  size = (max(round(width * scale), 1), max(round(height * scale), 1))
  zoom = np.array(size) * finer / (width, height)
  picture = Image.fromarray(marks.image).resize(
    (size[0] * finer, size[1] * finer), Image.Resampling.BICUBIC
  )
  draw = ImageDraw.Draw(picture, "RGBA")
  radius = finer * max(side / 90, 2.5)
  for found in (marks, *marks.others):
    _draw_object(draw, found, zoom, radius)
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
    _dot(draw, points[n], radius, colors[n], bool(marks.filled[n]))
  there = points[np.isfinite(points).all(-1)]
  if marks.label and len(there):
    font = _font(round(6 * radius))
    corner = there.min(0) - 7 * radius
    place = tuple(np.maximum(corner, 0).tolist())
    draw.text(
      place, marks.label, _PAPER, font, stroke_width=round(radius), stroke_fill=_INK
    )


def _dot(
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


def _legend(
  names: Sequence[str], confidence: Float[np.ndarray, " n"], query: Marks, height: int
) -> Image.Image:
  """Draws the list of keypoint types, in as many columns as necessary."""
  colors = (255 * keypoint_colors(len(names))).astype(int).tolist()
  rows = max(height // _LEGEND_ROW, 1)
  font = _font(13)
  widest = max(font.getlength(_short(name, 170, font)) for name in names)
  column = round(widest) + 100
  columns = math.ceil(len(names) / rows)
  legend = Image.new("RGB", (columns * column, min(rows, len(names)) * _LEGEND_ROW + 2))
  legend.paste(_PAPER, (0, 0, *legend.size))
  draw = ImageDraw.Draw(legend)
  for n, name in enumerate(names):
    x, y = n // rows * column, n % rows * _LEGEND_ROW
    is_filled = bool(query.filled[n])
    _dot(draw, np.array([x + 8, y + 9]), 5, tuple(colors[n]), is_filled)
    ink = _INK if is_filled else _FAINT
    draw.text((x + 20, y + 1), _short(name, 170, font), fill=ink, font=font)
    is_found = np.isfinite(query.keypoints[n]).all()
    percent = f"{100 * confidence[n]:.0f} %" if is_found else "no support"
    end = x + column - 14 - font.getlength(percent)
    draw.text((end, y + 1), percent, fill=ink, font=font)
  return legend


def _text(
  draw: ImageDraw.ImageDraw,
  place: tuple[int, int],
  text: str,
  width: int,
  ink: tuple[int, int, int] = _INK,
) -> None:
  font = _font(13)
  draw.text(place, _short(text, width, font), fill=ink, font=font)


def _short(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
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
def _font(size: int) -> ImageFont.FreeTypeFont:
  folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
  return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
