"""Poses actors: moved vertices of an actor and its props, and its bones."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from fskd_jax.data.game import actors
from fskd_jax.data.game.archive import Archive, Model


class Part(NamedTuple):
  """A mesh in the scene.

  Attributes:
    points: Its vertices.
    normals: Their normals.
    places: (u, v) in the texture.
    faces: Vertices of the triangles.
    texture: RGBA.
    cut: Whether it is transparent where alpha is small.
    dyed: Whether a dye shows where alpha is small.
  """

  points: Float[np.ndarray, "v 3"]
  normals: Float[np.ndarray, "v 3"]
  places: Float[np.ndarray, "v 2"]
  faces: Int[np.ndarray, "f 3"]
  texture: UInt8[np.ndarray, "h w 4"]
  cut: bool
  dyed: bool


class Posed(NamedTuple):
  """A posed actor.

  Attributes:
    model: The name of its model.
    parts: The actor's own mesh first, then those of its props.
    bones: Poses of its bones.
  """

  model: str
  parts: list[Part]
  bones: Float[np.ndarray, "b 7"]


def pose(archive: Archive, name: str, rng: np.random.Generator) -> Posed | None:
  """Returns an actor in a random appearance and pose; nothing if it has no model."""
  actor = actors.choose(archive, name, rng)
  if actor is None:
    return None
  model = archive.model(actor.model)
  bones = model.rest
  for i in rng.permutation(len(actor.motions)):
    motion = archive.motion(actor.motions[i])
    if motion.shape[1] == len(bones):
      bones = motion[rng.integers(len(motion))]
      break
  parts = _parts(archive, actor, model, bones, np.eye(4), rng, depth=0)
  return Posed(actor.model, parts, bones)


def _parts(
  archive: Archive,
  actor: actors.Actor,
  model: Model,
  bones: Float[np.ndarray, "b 7"],
  frame: Float[np.ndarray, "4 4"],
  rng: np.random.Generator,
  depth: int,
) -> list[Part]:
  """Returns the meshes of an actor and its props, its frame placed in the scene."""
  points, normals = skin(model, bones)
  found = [
    Part(
      points @ frame[:3, :3].T + frame[:3, 3],
      normals @ frame[:3, :3].T,
      model.places,
      model.faces,
      archive.texture(actor.texture),
      cut="basic_trans" in actor.material,
      dyed="player" in actor.material or "objectcolor" in actor.material,
    )
  ]
  for anchor, name in actor.props.items():
    prop = actors.choose(archive, name, rng)
    if prop is None or depth > 2 or anchor not in model.anchors:
      continue
    other = archive.model(prop.model)
    placed = frame @ anchor_frame(model, bones, anchor)
    found += _parts(archive, prop, other, other.rest, placed, rng, depth + 1)
  return found


def anchor_frame(
  model: Model, bones: Float[np.ndarray, "b 7"], anchor: str
) -> Float[np.ndarray, "4 4"]:
  """Returns the frame of what is attached to an anchor of a posed model."""
  bone, place = model.anchors[anchor]
  local = matrices(place[None])[0]
  if bone is None or bone >= len(bones):
    return local
  return matrices(bones[bone][None])[0] @ local


def skin(
  model: Model, bones: Float[np.ndarray, "b 7"]
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3"]]:
  """Moves vertices and normals with the bones (linear blend skinning)."""
  if not len(model.rest):
    return model.points, model.normals
  moves = matrices(bones) @ np.linalg.inv(matrices(model.rest))
  blend = np.einsum("vk,vkij->vij", model.weights, moves[model.bones])
  # A vertex without weights does not move.
  blend[model.weights.sum(-1) < 0.5] = np.eye(4)
  points = np.einsum("vij,vj->vi", blend[:, :3, :3], model.points) + blend[:, :3, 3]
  return points, np.einsum("vij,vj->vi", blend[:, :3, :3], model.normals)


def matrices(poses: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n 4 4"]:
  """Returns poses (place, quaternion) as matrices."""
  x, y, z, w = (poses[:, 3:] / np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)).T
  out = np.zeros((len(poses), 4, 4))
  out[:, 0, :3] = np.stack(
    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1
  )
  out[:, 1, :3] = np.stack(
    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1
  )
  out[:, 2, :3] = np.stack(
    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1
  )
  out[:, :3, 3], out[:, 3, 3] = poses[:, :3], 1
  return out
