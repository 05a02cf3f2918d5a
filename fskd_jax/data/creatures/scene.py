"""Surroundings of a synthetic creature: a background, and occluders."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw


def background(side: int, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
  """Draws noise of several sizes, and 2 to 8 shapes as distractors."""
  noise = rng.uniform(70, 190) + rng.normal(0, 22, 3) + np.zeros((64, 64, 3))
  if rng.random() < 0.5:  # ground
    noise[rng.integers(20, 50) :] += rng.normal(0, 35) + rng.normal(0, 14, 3)
  for cells, strength in ((3, 26), (8, 16), (32, 9)):
    layer = rng.standard_normal((cells, cells, 3)) * 0.7
    layer += rng.standard_normal((cells, cells, 1))
    layer = (128 + 40 * layer).clip(0, 255).astype(np.uint8)
    layer = Image.fromarray(layer).resize((64, 64), Image.Resampling.BICUBIC)
    noise += strength / 40 * (np.asarray(layer, np.float32) - 128)
  image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
  image = image.resize((side, side), Image.Resampling.BILINEAR)
  draw = ImageDraw.Draw(image)
  for _ in range(rng.integers(2, 9)):
    _distractor(draw, side, rng)
  return np.array(image)


def _distractor(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
  color = _color(rng)
  x, y = rng.uniform(0, side, 2)
  w, h = rng.uniform(0.03, 0.25, 2) * side
  kind = rng.integers(4)
  if kind == 0:
    draw.ellipse((x - w, y - h, x + w, y + h), fill=color)
  elif kind == 1:
    draw.rectangle((x - w, y - h, x + w, y + h), fill=color)
  elif kind == 2:
    draw.line((x - w, y - h, x + w, y + h), fill=color, width=int(rng.integers(4, 24)))
  else:
    corners = np.array([x, y]) + rng.uniform(-0.25, 0.25, (4, 2)) * side
    draw.polygon([tuple(corner) for corner in corners], fill=color)


def _color(rng: np.random.Generator) -> tuple[int, ...]:
  color = (rng.uniform(40, 215) + rng.normal(0, 28, 3)).clip(0, 255)
  return tuple(int(channel) for channel in color)


def occlude(
  image: Image.Image,
  box: tuple[int, int, int, int],
  points: Float[np.ndarray, "n 3"],
  rng: np.random.Generator,
) -> Bool[np.ndarray, " n"]:
  """Draws a rectangle over a part of the box; returns whether it covers each point.

  Args:
    image: The picture, changed in place.
    box: (left, top, right, bottom) of the creature in pixels.
    points: (x, y, depth) with x and y in pixels.
    rng: The random generator of the picture.
  """
  left, top, right, bottom = box
  size = rng.uniform(0.15, 0.4, 2) * (right - left, bottom - top)
  corner = np.array([left, top]) + rng.random(2) * ((right - left, bottom - top) - size)
  x0, y0 = np.floor(corner).astype(int)
  x1, y1 = np.floor(corner + size).astype(int)
  ImageDraw.Draw(image).rectangle((x0, y0, x1, y1), fill=_color(rng))
  pixels = np.rint(points[:, :2])
  return np.all((pixels >= (x0, y0)) & (pixels <= (x1, y1)), axis=-1)
