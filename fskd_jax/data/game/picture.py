"""A picture of an actor: view, light, surroundings, and where its keypoints are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from fskd_jax.data.creatures import scene
from fskd_jax.data.game import triangles
from fskd_jax.data.game.archive import Archive
from fskd_jax.data.game.posing import Posed

SIDE = 224
_DRAWN = 2 * SIDE


class Picture(NamedTuple):
  """A picture of an actor.

  Attributes:
    image: RGB.
    keypoints: (x, y) in pixels.
    visible: Whether each keypoint is in the picture and nothing hides it.
    box: (x, y, w, h) of the actor with its props, occluded parts included, pixels.
  """

  image: UInt8[np.ndarray, "h w 3"]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]
  box: tuple[float, float, float, float]


def take(
  archive: Archive,
  posed: Posed,
  places: Float[np.ndarray, "n 3"],
  depths: Float[np.ndarray, " n"],
  grounds: Sequence[str],
  rng: np.random.Generator,
) -> Picture | None:
  """Draws an actor from a random side; nothing where there is hardly anything to see.

  Args:
    archive: The game's archive.
    posed: The actor.
    places: Its keypoints in the scene.
    depths: How deep each may lie below a visible surface, parts of the actor's size.
    grounds: Textures of the ground.
    rng: The random generator of the picture.
  """
  own = posed.parts[0].points
  camera = _camera(own, rng)
  drawn = triangles.draw(posed.parts, camera, _DRAWN, rng.uniform(0, 255, 3))
  there = np.isfinite(drawn.depth)
  if there.mean() < 0.01:
    return None
  canvas = np.where(
    there[..., None], _lit(drawn, camera, rng), _surroundings(archive, grounds, rng)
  )
  image = Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).reduce(2)
  rows, columns = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
  left, top = columns[0] / 2, rows[0] / 2
  right, bottom = (columns[-1] + 1) / 2, (rows[-1] + 1) / 2
  seen = camera.project(places)
  size = np.ptp(own, axis=0).max()
  visible = triangles.in_front(seen, drawn.depth, depths * size)
  keypoints = (seen[:, :2] - 0.5) / 2
  if rng.random() < 0.15:
    corners = round(left), round(top), round(right), round(bottom)
    flat = np.pad(keypoints, ((0, 0), (0, 1)))
    visible &= ~scene.occlude(image, corners, flat, rng)
  if rng.random() < 0.3:
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
  box = left, top, right - left, bottom - top
  return Picture(np.asarray(image), keypoints, visible, box)


def _camera(
  points: Float[np.ndarray, "v 3"], rng: np.random.Generator
) -> triangles.Camera:
  """Returns a camera that sees all of the points."""
  yaw = rng.uniform(0, 2 * np.pi)
  pitch = np.radians(rng.uniform(40, 85) if rng.random() < 0.1 else rng.normal(12, 10))
  roll = rng.normal(0, 0.12)
  forward = np.array(
    [np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
  )
  right = np.cross([0, 1, 0], forward)
  right /= np.linalg.norm(right)
  up = np.cross(forward, right)
  right, up = (
    np.cos(roll) * right + np.sin(roll) * up,
    np.cos(roll) * up - np.sin(roll) * right,
  )
  center = (points.min(0) + points.max(0)) / 2
  radius = np.linalg.norm(points - center, axis=1).max()
  position = center - rng.uniform(2.5, 8) * radius * forward
  camera = triangles.Camera(np.stack([right, up, forward]), position, 1.0, np.zeros(2))
  flat = camera.project(points)[:, :2]
  low, high = flat.min(0), flat.max(0)
  focal = rng.uniform(0.5, 0.92) * _DRAWN / (high - low).max()
  free = _DRAWN - focal * (high - low)
  middle = rng.uniform(0.05, 0.95, 2) * free - focal * low
  return camera._replace(focal=focal, middle=middle)


def _lit(
  drawn: triangles.Drawn, camera: triangles.Camera, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  """Shades the surface by a light from above, and changes its colours a little."""
  light = rng.normal(size=3)
  light[1] = abs(light[1]) + 0.3
  light /= np.linalg.norm(light)
  ambient = rng.uniform(0.35, 0.8)
  # Both sides of a triangle are seen: the normal is that of the side in view.
  facing = np.sign(-(drawn.normal @ camera.rotation[2]))[..., None]
  diffuse = np.maximum((facing * drawn.normal) @ light, 0)[..., None]
  color = drawn.color * (ambient + (1.15 - ambient) * diffuse)
  color = 255 * (color.clip(0, 255) / 255) ** np.exp(rng.normal(-0.1, 0.2))
  return color * np.exp(rng.normal(0.1, 0.12) + rng.normal(0, 0.06, 3))


def _surroundings(
  archive: Archive, grounds: Sequence[str], rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  """Returns a piece of ground, often below something else, or a drawn background."""
  kind = rng.random()
  if kind < 0.15:
    return np.full((_DRAWN, _DRAWN, 3), rng.uniform(0, 255, 3))
  if kind < 0.35 or not grounds:
    return scene.background(_DRAWN, rng).astype(float)
  canvas = _ground(archive, grounds, rng)
  if kind < 0.7:
    above = _ground(archive, grounds, rng) if kind < 0.55 else _sky(rng)
    horizon = int(rng.uniform(0.15, 0.6) * _DRAWN)
    canvas[:horizon] = above[:horizon]
  return canvas


def _ground(
  archive: Archive, grounds: Sequence[str], rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  texture = archive.texture(grounds[int(rng.integers(len(grounds)))])[..., :3]
  side = int(rng.uniform(0.3, 1) * min(texture.shape[:2]))
  height, width = texture.shape[:2]
  y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
  piece = Image.fromarray(np.ascontiguousarray(texture[y : y + side, x : x + side]))
  piece = piece.resize((_DRAWN, _DRAWN), Image.Resampling.BILINEAR)
  return np.array(piece, float) * np.exp(rng.normal(0, 0.2))


def _sky(rng: np.random.Generator) -> Float[np.ndarray, "h w 3"]:
  top, bottom = (rng.uniform(110, 235) + rng.normal(0, 25, 3) for _ in range(2))
  share = np.linspace(0, 1, _DRAWN)[:, None, None]
  return np.broadcast_to(top + share * (bottom - top), (_DRAWN, _DRAWN, 3))
