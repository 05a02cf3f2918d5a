"""Draws the pictures and legends of the page."""

import html
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fskd_jax.demo import state
from fskd_jax.demo.pictures import SIDE, Picture, Point, drawn_size
from fskd_jax.demo.state import Page, Role
from fskd_jax.pictures.predictions import Marks, draw_marks
from fskd_jax.pictures.style import keypoint_colors


def draw_support(page: Page) -> Image.Image | None:
  """Draws the support picture shown, with its marks."""
  picture = page.support.current
  if picture is None:
    return None
  order = state.names(page)
  points = [picture.keypoints.get(name, (np.nan, np.nan)) for name in order]
  marks = Marks(
    title=picture.name,
    image=picture.preview,
    keypoints=_on_preview(np.array(points, float).reshape(-1, 2), picture),
    filled=np.ones(len(order), bool),
  )
  return _with_box(draw_marks(marks, SIDE), picture, _corner(page, "support"))


def draw_query(page: Page, min_confidence: float) -> Image.Image | None:
  """Draws the query picture shown, with its prediction as dots, rings, ellipses."""
  picture = page.query.current
  if picture is None:
    return None
  marks = Marks(picture.name, picture.preview, np.empty((0, 2)), np.empty(0, bool))
  if page.prediction is not None:
    found = page.prediction.of_image(page.query.shown)
    marks = marks._replace(
      keypoints=_on_preview(found.keypoints[0], picture),
      filled=found.confidence[0] >= min_confidence,
      covariance=found.covariance[0] * np.outer(_zoom(picture), _zoom(picture)),
    )
  return _with_box(draw_marks(marks, SIDE), picture, _corner(page, "query"))


def to_image(click: Sequence[float], picture: Picture) -> Point:
  """Converts a click on a drawn picture to pixel indices of the image.

  Args:
    click: (x, y) on the drawing, from the corner of its first pixel.
    picture: The picture that was drawn.

  Raises:
    ValueError: The click is not two numbers, or lies outside the drawing.
  """
  drawn = drawn_size(picture.size)
  try:
    x, y = (float(value) for value in click)
  except (TypeError, ValueError) as error:
    raise ValueError(f"A click is two numbers, not {click!r:.50}.") from error
  if not (0 <= x <= drawn[0] and 0 <= y <= drawn[1]):
    raise ValueError(f"The click ({x:g}, {y:g}) is outside the picture.")
  width, height = picture.size
  return x * width / drawn[0] - 0.5, y * height / drawn[1] - 0.5


def support_legend(page: Page) -> str:
  """Returns HTML of the keypoint types; those missing in the picture are pale."""
  order, picture = state.names(page), page.support.current
  if picture is None:
    return _hint("Add a picture, or take an example.")
  if not order:
    return _hint("Click on the picture to place keypoints.")
  items = [
    f'<span class="fskd-type" style="opacity:{1 if n in picture.keypoints else 0.35}">'
    f"{_dot(color)} {html.escape(n)}</span>"
    for n, color in zip(order, _colors(len(order)))
  ]
  return f'<div class="fskd-types">{"".join(items)}</div>'


def query_legend(page: Page, min_confidence: float) -> str:
  """Returns HTML of the keypoint types and their confidence in the picture shown."""
  if page.prediction is None:
    return _hint(
      "Add pictures. If the object does not fill a picture, click two opposite corners "
      "of a box around it. Then press the button."
    )
  found, rows = page.prediction.of_image(page.query.shown), []
  colors = _colors(len(found.names))
  for name, color, sure in zip(found.names, colors, found.confidence[0]):
    rows.append(
      f'<div class="fskd-found" style="opacity:{1 if sure >= min_confidence else 0.4}">'
      f"{_dot(color)} <span>{html.escape(name)}</span><span>{100 * sure:.0f} %</span>"
      f'<i style="width:{60 * sure:.0f}px;background:{color}"></i></div>'
    )
  return f'<div class="fskd-table">{"".join(rows)}</div>'


def message(text: str) -> str:
  """Returns HTML of an error message; "" for an empty one."""
  if not text:
    return ""
  return f'<p class="fskd-error" role="alert">{html.escape(text)}</p>'


def _corner(page: Page, role: Role) -> Point | None:
  return page.corner[1] if page.corner and page.corner[0] == role else None


def _with_box(
  drawn: Image.Image, picture: Picture, corner: Point | None
) -> Image.Image:
  zoom = np.array(drawn.size) / picture.size
  draw = ImageDraw.Draw(drawn)
  if picture.box is not None:
    x, y, w, h = picture.box
    start, end = zoom * (x, y), zoom * (x + w, y + h)
    for color, line in (((0, 0, 0), 4), ((255, 255, 255), 2)):
      draw.rectangle([*start, *end], outline=color, width=line)
  if corner is not None:
    x, y = zoom * (np.array(corner) + 0.5)
    for color, line in (((0, 0, 0), 5), ((255, 255, 255), 2)):
      draw.line([x - 12, y, x + 12, y], fill=color, width=line)
      draw.line([x, y - 12, x, y + 12], fill=color, width=line)
  return drawn


def _zoom(picture: Picture) -> np.ndarray:
  """Returns the scale from the image to the preview, across and down."""
  return np.array(picture.preview.shape[1::-1]) / picture.size


def _on_preview(points: np.ndarray, picture: Picture) -> np.ndarray:
  return (points + 0.5) * _zoom(picture) - 0.5


def _colors(count: int) -> list[str]:
  levels = (255 * keypoint_colors(count)).astype(int).tolist()
  return [f"rgb({r},{g},{b})" for r, g, b in levels]


def _dot(color: str) -> str:
  return f'<span class="fskd-dot" style="background:{color}"></span>'


def _hint(text: str) -> str:
  return f'<p class="fskd-hint">{text}</p>'
