"""Draws predictions: support beside query, and contact sheets."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from fskd_jax.pictures.marks import (
  FAINT,
  INK,
  PAPER,
  Marks,
  dot,
  draw_marks,
  font_of,
  short,
  write,
)
from fskd_jax.pictures.style import keypoint_colors

SIDE = 560
"""Longer side of a query image in `draw_prediction`, pixels."""

MAX_SUPPORTS = 3
"""Largest number of support images shown; more are counted."""

THUMBNAIL = 240
"""Longer side of a picture in a contact sheet, pixels."""

_GAP = 12
_TITLE = 24
_LEGEND_ROW = 18
_NUMBERED = range(9, 41)  # so many types are hard to tell by colour, but leave room
_FOOTNOTE = (
  "dots: confident; rings: below the least confidence; ellipses: 2 standard deviations"
)


def draw_prediction(
  supports: Sequence[Marks],
  query: Marks,
  names: Sequence[str],
  confidence: Float[np.ndarray, " n"],
) -> Image.Image:
  """Draws the support beside the query, and a legend of names and confidences."""
  shown = supports[:MAX_SUPPORTS]
  is_numbered = len(names) in _NUMBERED
  right = draw_marks(query, SIDE, is_numbered)
  height = max(right.height, SIDE // 2)
  side = (height - (len(shown) - 1) * _GAP) // len(shown)
  left = [draw_marks(marks, min(side, SIDE), is_numbered) for marks in shown]
  legend = _legend(names, confidence, query, max(height, 240))
  width = max(picture.width for picture in left)
  canvas = Image.new(
    "RGB",
    (
      width + right.width + legend.width + 4 * _GAP,
      max(height, legend.height) + 2 * _TITLE + _GAP,
    ),
    PAPER,
  )
  top, column = _TITLE + _GAP // 2, width + 2 * _GAP
  for i, picture in enumerate(left):
    canvas.paste(picture, (_GAP, top + i * (side + _GAP)))
  canvas.paste(right, (column, top))
  canvas.paste(legend, (column + right.width + _GAP, top))
  more = f" and {len(supports) - 1} more" if len(supports) > 1 else ""
  draw = ImageDraw.Draw(canvas)
  write(draw, (_GAP, 6), f"support: {shown[0].title}{more}", width)
  write(draw, (column, 6), f"query: {query.title}", right.width + legend.width)
  write(draw, (_GAP, canvas.height - _TITLE + 2), _FOOTNOTE, canvas.width, FAINT)
  return canvas


def draw_contact_sheet(
  pictures: Sequence[tuple[str, Image.Image]], names: Sequence[str] = ()
) -> Image.Image:
  """Arranges pictures of at most `THUMBNAIL` pixels in a grid, each below its title.

  Args:
    pictures: Titles and pictures.
    names: Names of the keypoint types, whose colours are explained at the bottom.
  """
  columns = math.ceil(math.sqrt(1.5 * len(pictures)))
  rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
  heights = [max(picture.height for _, picture in row) for row in rows]
  width = columns * (THUMBNAIL + _GAP) + _GAP
  colors = _colors_of(names, width)
  height = sum(heights) + len(rows) * (_TITLE + _GAP) + _GAP
  sheet = Image.new("RGB", (width, height + colors.height), PAPER)
  sheet.paste(colors, (0, height))
  draw, y = ImageDraw.Draw(sheet), _GAP
  for row, highest in zip(rows, heights):
    for column, (title, picture) in enumerate(row):
      x = column * (THUMBNAIL + _GAP) + _GAP
      sheet.paste(picture, (x + (THUMBNAIL - picture.width) // 2, y + _TITLE))
      write(draw, (x, y + 4), title, THUMBNAIL)
    y += highest + _TITLE + _GAP
  return sheet


def _legend(
  names: Sequence[str], confidence: Float[np.ndarray, " n"], query: Marks, height: int
) -> Image.Image:
  """Draws the list of keypoint types, in as many columns as necessary."""
  colors = (255 * keypoint_colors(len(names))).astype(int).tolist()
  rows = max(height // _LEGEND_ROW, 1)
  font = font_of(13)
  widest = max(font.getlength(short(name, 170, font)) for name in names)
  column = round(widest) + 100 + 20 * (len(names) in _NUMBERED)
  columns = math.ceil(len(names) / rows)
  legend = Image.new("RGB", (columns * column, min(rows, len(names)) * _LEGEND_ROW + 2))
  legend.paste(PAPER, (0, 0, *legend.size))
  draw = ImageDraw.Draw(legend)
  for n, name in enumerate(names):
    x, y = n // rows * column, n % rows * _LEGEND_ROW
    is_filled = bool(query.filled[n])
    dot(draw, np.array([x + 8, y + 9]), 5, tuple(colors[n]), is_filled)
    ink = INK if is_filled else FAINT
    text = f"{n + 1} {name}" if len(names) in _NUMBERED else name
    draw.text((x + 20, y + 1), short(text, 190, font), fill=ink, font=font)
    is_found = np.isfinite(query.keypoints[n]).all()
    percent = f"{100 * confidence[n]:.0f} %" if is_found else "no support"
    end = x + column - 14 - font.getlength(percent)
    draw.text((end, y + 1), percent, fill=ink, font=font)
  return legend


def _colors_of(names: Sequence[str], width: int) -> Image.Image:
  """Draws the names beside their colours, in as many rows as necessary."""
  font, places, x, y = font_of(13), [], _GAP, 0
  shown = [short(name, 170, font) for name in names]
  for name in shown:
    length = round(font.getlength(name)) + 34
    if x > _GAP and x + length > width:
      x, y = _GAP, y + _LEGEND_ROW
    places.append((x, y))
    x += length
  drawn = Image.new("RGB", (width, y + 2 * _LEGEND_ROW if names else 0), PAPER)
  draw = ImageDraw.Draw(drawn)
  colors = (255 * keypoint_colors(len(names))).astype(int).tolist()
  for name, (x, y), color in zip(shown, places, colors):
    dot(draw, np.array([x + 6, y + 9]), 5, tuple(color), True)
    draw.text((x + 16, y + 1), name, fill=INK, font=font)
  return drawn
