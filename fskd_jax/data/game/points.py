"""Keypoints of any model: its joints, and points all over its surface.

They have no meaning beyond their model. Those that mirror each other are named so that
mirrored pictures exchange them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import spatial

from fskd_jax.data.game.archive import Model
from fskd_jax.data.game.posing import Posed

JOINT_DEPTH = 0.07
"""Depth below the surface at which a joint is still visible, parts of the size."""
SKIN_DEPTH = 0.015
"""The same of a point of the surface."""

_SAME_PLACE = 0.03
"""Distance at which two points are mirror images, parts of the model's size."""


class Points(NamedTuple):
  """Joints and vertices of a model that are keypoints.

  Attributes:
    names: Their names; those of a pair differ in "left" and "right".
    joints: Bones, the first keypoints.
    vertices: Vertices, the others.
  """

  names: tuple[str, ...]
  joints: Int[np.ndarray, " j"]
  vertices: Int[np.ndarray, " s"]

  def places(self, posed: Posed) -> Float[np.ndarray, "n 3"]:
    """Returns where they are in the scene."""
    return np.concatenate(
      [posed.bones[self.joints, :3], posed.parts[0].points[self.vertices]]
    )

  def depths(self) -> Float[np.ndarray, " n"]:
    """Returns how deep they may lie below a visible surface, parts of the size."""
    return np.repeat([JOINT_DEPTH, SKIN_DEPTH], [len(self.joints), len(self.vertices)])


def spread(model: Model, count: int) -> Points:
  """Returns the joints that move something, and vertices far from each other.

  Args:
    model: The model.
    count: Number of vertices, which their mirror images may add to.
  """
  size = np.ptp(model.points, axis=0).max()
  moved = np.unique(model.bones[model.weights > 0.4])
  at_origin = np.abs(model.rest[:, :3]).sum(1) < 1e-6
  joints = np.array([x for x in moved if not at_origin[x]], int)
  joints = joints[_first_of_each(model.rest[joints, :3], 0.01 * size)]
  vertices = _far_apart(model.points, count)
  if _is_symmetric(model.points, size):
    others = _nearest(model.points[vertices] * (-1, 1, 1), model.points)
    vertices = np.concatenate([vertices, others])
    vertices = vertices[_first_of_each(model.points[vertices], 0.01 * size)]
  places = np.concatenate([model.rest[joints, :3], model.points[vertices]])
  kinds = np.repeat(["joint", "point"], [len(joints), len(vertices)])
  return Points(_names(places, kinds, _SAME_PLACE * size), joints, vertices)


def _names(
  places: Float[np.ndarray, "n 3"], kinds: np.ndarray, near: float
) -> tuple[str, ...]:
  """Numbers the points; pairs share a number."""
  names = [""] * len(places)
  for i, (place, kind) in enumerate(zip(places, kinds)):
    if names[i]:
      continue
    names[i] = f"{kind} {i + 1:02d}"
    gaps = np.linalg.norm(places - place * (-1, 1, 1), axis=1)
    gaps[[j for j, name in enumerate(names) if name or kinds[j] != kind]] = np.inf
    j = int(gaps.argmin())
    if abs(place[0]) > near and gaps[j] < near:
      left, right = (i, j) if place[0] > 0 else (j, i)
      names[left], names[right] = f"left {names[i]}", f"right {names[i]}"
  return tuple(names)


def _is_symmetric(points: Float[np.ndarray, "v 3"], size: float) -> bool:
  """Whether most vertices have a mirror image."""
  mirrored = points * (-1, 1, 1)
  gaps = np.linalg.norm(points[_nearest(mirrored, points)] - mirrored, axis=1)
  return bool((gaps < _SAME_PLACE * size).mean() > 0.7)


def _nearest(
  some: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "v 3"]
) -> Int[np.ndarray, " n"]:
  return np.asarray(spatial.KDTree(points).query(some)[1])


def _far_apart(points: Float[np.ndarray, "v 3"], count: int) -> Int[np.ndarray, " s"]:
  """Returns points each of which is the farthest from those before it."""
  chosen = [int(points[:, 1].argmax())]
  gaps = np.linalg.norm(points - points[chosen[0]], axis=1)
  while len(chosen) < min(count, len(points)) and gaps.max() > 0:
    chosen.append(int(gaps.argmax()))
    gaps = np.minimum(gaps, np.linalg.norm(points - points[chosen[-1]], axis=1))
  return np.array(chosen)


def _first_of_each(places: Float[np.ndarray, "n 3"], near: float) -> list[int]:
  """Returns the points that do not lie where an earlier one does."""
  kept: list[int] = []
  for i, place in enumerate(places):
    if all(np.linalg.norm(places[j] - place) > near for j in kept):
      kept.append(i)
  return kept
