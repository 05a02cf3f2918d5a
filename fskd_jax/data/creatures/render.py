"""Draws a posed creature in orthographic view: depth buffer, coat, scene, occluder.

Everything is drawn at twice the final size and box-filtered.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from fskd_jax.data.creatures import pose, scene, skeleton
from fskd_jax.data.creatures.species import SPECIES, Coat

SIDE = 128
DRAWN = 2 * SIDE
"""Side of what is drawn."""
_LIGHT = np.array([-0.35, -0.75, 0.56], np.float32)  # towards the light, view frame


class Picture(NamedTuple):
  """A drawn creature.

  Attributes:
    image: RGB, SIDE x SIDE.
    keypoints: (x, y) in pixels, in the order of skeleton.KEYPOINTS.
    visible: Whether neither a nearer part nor the occluder hides each keypoint.
    box: (x, y, w, h) of the drawn body in pixels, occluded parts included.
  """

  image: UInt8[np.ndarray, "h w 3"]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]
  box: tuple[float, float, float, float]


def render(species: str, seed: Sequence[int]) -> Picture:
  """Draws one creature; the same seed gives the same picture.

  Raises:
    ValueError: There is no such species.
  """
  kinds = {kind.name: kind for kind in SPECIES}
  if species not in kinds:
    raise ValueError(f"no species {species!r}; there are {', '.join(kinds)}")
  kind = kinds[species]
  rng = np.random.default_rng(seed)
  coat = kind.coats[rng.integers(len(kind.coats))]
  body = pose.pose(kind, coat, rng)
  body, view = place(body, rng)
  surface = rasterize(body)
  canvas = scene.background(DRAWN, rng)
  canvas[surface.rows, surface.columns] = shade(
    body, surface, view, Pattern(kind.pattern, kind.pattern_size), coat, rng
  )
  rows, columns = surface.rows, surface.columns
  box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
  visible = in_front(body, surface.depth)
  image = Image.fromarray(canvas)
  if rng.random() < 0.3:
    visible &= ~scene.occlude(image, box, body.keypoints, rng)
  left, top, right, bottom = (float(side) / 2 for side in box)
  return Picture(
    image=np.asarray(image.reduce(2)),
    keypoints=(body.keypoints[:, :2] - 0.5) / 2,
    visible=visible,
    box=(left, top, right - left, bottom - top),
  )


class View(NamedTuple):
  """Map from the body frame to the view frame, in drawn pixels.

  In the view frame x points right, y down and z to the viewer. A point p maps to
  scale * rotation @ p + shift. The only reflection is the flip of y in the rotation, so
  that the picture is not a mirror image.
  """

  rotation: np.ndarray
  scale: float
  shift: np.ndarray


def place(body: skeleton.Body, rng: np.random.Generator) -> tuple[skeleton.Body, View]:
  """Turns a creature to the camera and fits it into the picture."""
  yaw = rng.uniform(-55, 55) + 180 * rng.integers(2)  # facing right or left
  rotation = camera(yaw, rng.uniform(-3, 22), rng.uniform(-15, 15))
  return fit(body, rotation, rng)


def fit(
  body: skeleton.Body, rotation: Float[np.ndarray, "3 3"], rng: np.random.Generator
) -> tuple[skeleton.Body, View]:
  """Turns a body by `View.rotation` and fits it into the picture, anywhere."""
  ends = np.stack([body.start, body.end], 1) @ rotation.T  # [c 2 3]
  low = (ends[..., :2] - body.radii[..., None]).min((0, 1))
  high = (ends[..., :2] + body.radii[..., None]).max((0, 1))
  scale = rng.uniform(0.5, 0.88) * DRAWN / (high - low).max()
  free = DRAWN - scale * (high - low)
  corner = 2 + rng.random(2) * (free - 4)
  shift = np.array([*(corner - scale * low), 0.0])
  move = lambda points: (scale * points @ rotation.T + shift).astype(np.float32)
  placed = body._replace(
    start=move(body.start),
    end=move(body.end),
    radii=np.float32(scale) * body.radii,
    arcs=np.float32(scale) * body.arcs,
    keypoints=move(body.keypoints),
    slack=np.float32(scale) * body.slack,
  )
  return placed, View(rotation.astype(np.float32), scale, shift.astype(np.float32))


def camera(yaw: float, pitch: float, roll: float) -> Float[np.ndarray, "3 3"]:
  """Returns a `View.rotation`: about the vertical, then by elevation, then tilt.

  Args:
    yaw: Degrees; at 0 a body faces to the right, at -90 it faces the viewer.
    pitch: Degrees; above 0 a body is seen from above.
    roll: Degrees, clockwise.
  """
  y, p, r = map(math.radians, (yaw, pitch, roll))
  about_y = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
  about_x = [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
  about_z = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
  turned = np.array(about_z) @ np.array(about_x) @ np.array(about_y)
  return np.diag([1.0, -1.0, 1.0]) @ turned


class Pattern(NamedTuple):
  """The pattern on skins that are PATTERNED: its name and the length of a period."""

  name: str
  size: float


class Surface(NamedTuple):
  """The visible surface.

  Attributes:
    depth: [h w], z of the surface, -inf where there is none.
    rows, columns: [p], the pixels that show the creature.
    part: [p], the number of the capsule seen at each pixel.
    along: [p], the position on its axis, 0 at the start and 1 at the end.
  """

  depth: np.ndarray
  rows: np.ndarray
  columns: np.ndarray
  part: np.ndarray
  along: np.ndarray


def rasterize(body: skeleton.Body) -> Surface:
  """Draws the capsules into a depth buffer."""
  depth = np.full((DRAWN, DRAWN), -np.inf, np.float32)
  part = np.full((DRAWN, DRAWN), -1, np.int16)
  along = np.zeros((DRAWN, DRAWN), np.float32)
  axis = np.arange(DRAWN, dtype=np.float32)
  low = np.minimum(body.start, body.end)[:, :2] - body.radii.max(1, keepdims=True)
  high = np.maximum(body.start, body.end)[:, :2] + body.radii.max(1, keepdims=True)
  low = np.clip(np.floor(low), 0, DRAWN).astype(int)
  high = np.clip(np.ceil(high) + 1, 0, DRAWN).astype(int)
  for i, (start, way) in enumerate(zip(body.start, body.end - body.start)):
    window = np.s_[low[i, 1] : high[i, 1], low[i, 0] : high[i, 0]]
    x = axis[window[1]][None, :] - start[0]
    y = axis[window[0]][:, None] - start[1]
    # At a pixel, the ball at t of the axis, t in [0, 1], reaches the depth
    # start_z + t * way_z + sqrt(c + 2 * b * t - a * t**2).
    r0, taper = body.radii[i, 0], body.radii[i, 1] - body.radii[i, 0]
    a = way[0] * way[0] + way[1] * way[1] - taper * taper
    b = (r0 * taper + y * way[1]) + x * way[0]
    c = (r0 * r0 - y * y) - x * x
    for t in _nearest(a, b, c, way[2]):
      height = c + t * (2 * b - a * t)
      z = (start[2] + t * way[2]) + np.sqrt(np.maximum(height, 0))
      nearer = (height > 0) & (z > depth[window])
      np.copyto(depth[window], z, where=nearer)
      np.copyto(part[window], i, where=nearer)
      np.copyto(along[window], t, where=nearer)
  rows, columns = np.nonzero(part >= 0)
  return Surface(depth, rows, columns, part[rows, columns], along[rows, columns])


def _nearest(a: float, b: np.ndarray, c: np.ndarray, way: float) -> tuple:
  """Returns the positions t of the balls that may be nearest to the viewer."""
  if a < 1e-3:  # a ball, or seen end-on: one of the two ends is in front
    return np.float32(0), np.float32(1)
  root = np.sqrt(np.maximum(b * b + a * c, 0))
  return (np.clip((b + way / math.sqrt(a + way * way) * root) / a, 0, 1),)


def in_front(body: skeleton.Body, depth: np.ndarray) -> np.ndarray:
  """Returns bool [n], whether no nearer part hides each keypoint."""
  x, y = np.rint(body.keypoints[:, :2]).astype(int).clip(0, DRAWN - 1).T
  return depth[y, x] <= body.keypoints[:, 2] + body.slack


def shade(
  body: skeleton.Body,
  surface: Surface,
  view: View,
  pattern: Pattern,
  coat: Coat,
  rng: np.random.Generator,
) -> UInt8[np.ndarray, "p 3"]:
  """Colours the visible pixels: coat, pattern, light, fur."""
  part, along = surface.part, surface.along[:, None]
  way = body.end - body.start
  center = body.start[part] + along * way[part]
  radius = body.radii[part, :1] + along * np.diff(body.radii, axis=1)[part]
  z = surface.depth[surface.rows, surface.columns]
  point = np.stack([surface.columns, surface.rows, z], -1, dtype=np.float32)
  normal = (point - center) / radius
  color = body.colors[part]
  skin = body.skins[part]
  if pattern.name != "plain":
    marked = np.nonzero(skin == skeleton.PATTERNED)[0]
    where = (point[marked] - view.shift) @ view.rotation / view.scale
    arc = body.arcs[part] + surface.along * np.linalg.norm(way, axis=1)[part]
    amount = _pattern(pattern, where, arc[marked] / view.scale, rng)[:, None]
    color[marked] += amount * (np.asarray(coat.mark, np.float32) - color[marked])
  if coat.belly:
    downward = normal @ view.rotation[:, 1]  # y of the body frame
    amount = np.clip(-2.5 * downward - 0.8, 0, 1) * (skin != skeleton.PLAIN)
    color += amount[:, None] * (np.asarray(coat.belly, np.float32) - color)
  light = 0.62 + 0.5 * np.clip(normal @ _LIGHT, 0, None)
  light *= 0.78 + 0.22 * np.clip(2 * normal[:, 2], 0, 1)  # darker rims part the limbs
  light *= 1 + 0.3 * np.clip(z / view.scale, -0.5, 0)  # and so does a darker far side
  light += 0.04 * rng.standard_normal(len(light), dtype=np.float32)
  tint = rng.uniform(0.85, 1.12) * rng.uniform(0.9, 1.1, 3)
  return np.clip(color * light[:, None] * np.float32(tint), 0, 255).astype(np.uint8)


def _pattern(
  pattern: Pattern, where: np.ndarray, arc: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Returns [p] in 0..1, the share of the second colour at points of the body frame."""
  waves = rng.standard_normal((3, 6), dtype=np.float32)
  waves *= 2 * math.pi / pattern.size / np.linalg.norm(waves, axis=0)
  phases = rng.uniform(0, 2 * math.pi, 6).astype(np.float32)
  if pattern.name == "spots":
    bumps = np.cos(where @ waves[:, :3] + phases[:3]).sum(-1)
    return np.clip(4 * (bumps - 1.5), 0, 1)
  noise = np.cos(where @ waves + phases).sum(-1)
  if pattern.name == "stripes":
    wave = np.sin(2 * math.pi / pattern.size * arc + 0.35 * noise)
    return np.clip(3 * wave + 0.5, 0, 1)
  if pattern.name == "net":
    return np.clip(1.6 - 2.2 * np.abs(noise), 0, 1)
  return np.clip(4 * noise - 1, 0, 1)  # patches
