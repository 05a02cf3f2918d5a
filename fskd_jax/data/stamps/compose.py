"""Puts a stamp into a picture: size, place, turn, perspective, light, background."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from fskd_jax.data.creatures import scene

SIDE = 224


class Picture(NamedTuple):
  """A composed picture.

  Attributes:
    image: RGB.
    keypoints: (x, y) in pixels.
    visible: Whether each keypoint lies in the picture and not under the occluder.
    box: (x, y, w, h) of the stamp in pixels, occluded parts included.
  """

  image: UInt8[np.ndarray, "h w 3"]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]
  box: tuple[float, float, float, float]


def compose(
  stamp: Image.Image, points: Float[np.ndarray, "n 2"], rng: np.random.Generator
) -> Picture:
  """Draws a stamp onto a background.

  Args:
    stamp: A picture with transparency.
    points: (x, y) of its keypoints, pixels of the stamp.
    rng: The random generator of the picture.
  """
  matrix = _homography(stamp.size, rng)
  moved = _moved(points, matrix)
  canvas = Image.fromarray(_background(rng))
  drawn = stamp.convert("RGBA").transform(
    (SIDE, SIDE),
    Image.Transform.PERSPECTIVE,
    # PIL counts from the corner of a pixel, not from its centre.
    tuple(_corner_based(np.linalg.inv(matrix)).ravel()[:8]),
    Image.Resampling.BICUBIC,
  )
  box = _box(np.asarray(drawn)[..., 3])
  canvas.paste(_lit(drawn, rng), (0, 0), drawn)
  visible = np.all((moved > -0.5) & (moved < SIDE - 0.5), axis=-1)
  if rng.random() < 0.2:
    left, top, width, height = map(round, box)
    corners = left, top, left + width, top + height
    depth = np.zeros((len(moved), 1))
    visible &= ~scene.occlude(canvas, corners, np.hstack([moved, depth]), rng)
  if rng.random() < 0.3:
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
  return Picture(np.asarray(canvas), moved, visible, box)


def _homography(
  size: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, "3 3"]:
  """Returns a random map from the stamp's pixels to the picture's."""
  scale = rng.uniform(0.45, 0.95) * SIDE / max(size)
  angle = rng.normal(0, 0.25)
  stretch = np.exp(rng.normal(0, 0.12, 2)) * scale
  cos, sin = np.cos(angle), np.sin(angle)
  linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag(stretch)
  linear = linear @ np.array([[1, rng.normal(0, 0.1)], [0, 1]])  # sheared
  middle = (np.array(size) - 1) / 2
  reach = np.abs(linear) @ middle
  free = np.maximum((SIDE - 1) / 2 - reach, 0)
  target = (SIDE - 1) / 2 + rng.uniform(-1, 1, 2) * free
  matrix = np.eye(3)
  matrix[:2, :2], matrix[:2, 2] = linear, target - linear @ middle
  tilt = np.eye(3)  # about the middle of the stamp, which stays where it is
  tilt[2, :2] = rng.normal(0, 0.12, 2) / max(size)
  to, back = np.eye(3), np.eye(3)
  to[:2, 2], back[:2, 2] = -middle, middle
  return matrix @ back @ tilt @ to


def _moved(
  points: Float[np.ndarray, "n 2"], matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n 2"]:
  mapped = np.hstack([points, np.ones((len(points), 1))]) @ matrix.T
  return mapped[:, :2] / mapped[:, 2:]


def _corner_based(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
  half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
  matrix = half @ matrix @ np.linalg.inv(half)
  return matrix / matrix[2, 2]


def _background(rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
  if rng.random() < 0.25:  # a studio: one colour
    return np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
  return scene.background(SIDE, rng)


def _lit(drawn: Image.Image, rng: np.random.Generator) -> Image.Image:
  """Changes brightness, contrast, gamma and colours; sometimes it becomes grey."""
  pixels = np.asarray(drawn.convert("RGB"), np.float32) / 255
  if rng.random() < 0.15:
    pixels = np.repeat(pixels.mean(-1, keepdims=True), 3, -1)
  pixels = pixels ** np.exp(rng.normal(0, 0.25))
  gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.08, 3))
  pixels = (pixels - 0.5) * np.exp(rng.normal(0, 0.15)) + 0.5
  pixels = pixels * gain + rng.normal(0, 0.05)
  return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def _box(alpha: UInt8[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
  """Returns the box around what is more than half opaque."""
  rows, columns = (np.flatnonzero((alpha > 127).any(axis)) for axis in (1, 0))
  if not len(rows):
    raise ValueError("the stamp is transparent all over")
  top, left = float(rows[0]), float(columns[0])
  return left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top
