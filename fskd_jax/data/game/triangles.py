"""Draws textured triangles in perspective, with a depth buffer."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax.data.game.posing import Part


class Camera(NamedTuple):
  """A pinhole camera in a left-handed frame.

  Attributes:
    rotation: Rows: the camera's right, up and forward in the scene.
    position: Where it stands.
    focal: Focal length in pixels.
    middle: (x, y) of the point it looks at, pixels.
  """

  rotation: Float[np.ndarray, "3 3"]
  position: Float[np.ndarray, " 3"]
  focal: float
  middle: Float[np.ndarray, " 2"]

  def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Returns (x, y, depth): pixels, and the distance along the view."""
    seen = (points - self.position) @ self.rotation.T
    flat = seen[:, :2] / seen[:, 2:] * (self.focal, -self.focal) + self.middle
    return np.hstack([flat, seen[:, 2:]])


class Drawn(NamedTuple):
  """View of a camera.

  Attributes:
    color: RGB of the texture, 0 to 255.
    normal: The normal of the surface, of unit length.
    depth: Its distance along the view; infinite where there is nothing.
  """

  color: Float[np.ndarray, "h w 3"]
  normal: Float[np.ndarray, "h w 3"]
  depth: Float[np.ndarray, "h w"]


def draw(
  parts: list[Part], camera: Camera, side: int, dye: Float[np.ndarray, " 3"]
) -> Drawn:
  """Draws meshes into a square picture; both sides of a triangle are seen.

  Args:
    parts: The meshes.
    camera: The camera.
    side: Side of the picture, pixels.
    dye: The colour of what is dyed, RGB.
  """
  depth = np.full((side, side), np.inf)
  color, normal = np.zeros((2, side, side, 3))
  for part in parts:
    _draw(part, camera, dye, depth, color, normal)
  length = np.linalg.norm(normal, axis=-1, keepdims=True)
  return Drawn(color, normal / np.maximum(length, 1e-9), depth)


def _draw(part, camera, dye, depth, color, normal) -> None:
  """Adds a mesh to the buffers."""
  side = len(depth)
  flat = camera.project(part.points)
  corners = flat[part.faces]  # [f 3 (x y z)]
  low = np.floor(corners[..., :2].min(1)).astype(int).clip(0, side)
  high = (np.ceil(corners[..., :2].max(1)).astype(int) + 1).clip(0, side)
  height, width = part.texture.shape[:2]
  for i in np.flatnonzero((corners[..., 2] > 1e-6).all(1) & (high > low).all(1)):
    (x0, y0), (x1, y1) = low[i], high[i]
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[i]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-9:
      continue
    x, y = np.arange(x0, x1)[None], np.arange(y0, y1)[:, None]
    v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    u = 1 - v - w
    inside = (u >= -1e-6) & (v >= -1e-6) & (w >= -1e-6)
    if not inside.any():
      continue
    u, v, w = u / az, v / bz, w / cz  # linear in the scene once divided by their sum
    far = 1 / (u + v + w)
    rows, columns = np.nonzero(inside & (far < depth[y0:y1, x0:x1]))
    if not len(rows):
      continue
    far = far[rows, columns]
    share = np.stack([u[rows, columns], v[rows, columns], w[rows, columns]], -1)
    share *= far[:, None]
    place = share @ part.places[part.faces[i]]
    texel = part.texture[
      np.floor(place[:, 1] * height).astype(int) % height,
      np.floor(place[:, 0] * width).astype(int) % width,
    ]
    if part.cut:
      kept = texel[:, 3] > 100
      rows, columns, far, share, texel = (
        a[kept] for a in (rows, columns, far, share, texel)
      )
    paint = texel[:, :3].astype(float)
    if part.dyed:
      alpha = texel[:, 3:] / 255
      paint = alpha * paint + (1 - alpha) * dye
    rows, columns = rows + y0, columns + x0
    depth[rows, columns], color[rows, columns] = far, paint
    normal[rows, columns] = share @ part.normals[part.faces[i]]


def in_front(
  points: Float[np.ndarray, "n 3"],
  depth: Float[np.ndarray, "h w"],
  slack: Float[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
  """Whether nothing much nearer hides each projected point, and it is in the picture.

  Args:
    points: (x, y, depth) in pixels.
    depth: The depth buffer.
    slack: How much nearer the surface may be to each.
  """
  pixels: Int[np.ndarray, "n 2"] = np.rint(points[:, :2]).astype(int)
  inside = ((pixels >= 0) & (pixels < len(depth))).all(1)
  x, y = pixels.clip(0, len(depth) - 1).T
  return inside & (depth[y, x] >= points[:, 2] - slack)
