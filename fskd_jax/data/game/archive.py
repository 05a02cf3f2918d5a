"""Reads the archive of 0 A.D.: models, motions, textures, descriptions of actors.

Models (PMD) and motions (PSA) are the game's binary files, described in its wiki
("PMD File Format", "PSA File Format"). A pose of a bone is seven numbers, its place
and its rotation as a quaternion (x, y, z, w), in the model's frame: x to the left of
an animal, y up, z backwards, a left-handed frame.
"""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import DdsImagePlugin

_NO_BONE = 255


class Model(NamedTuple):
  """A triangle mesh with a skeleton.

  Attributes:
    points: Vertices of the model at rest.
    normals: Their normals.
    places: (u, v) in the texture; v grows downwards.
    bones: The bones that move a vertex.
    weights: Their weights; unused ones are 0.
    faces: Vertices of the triangles.
    rest: Pose of each bone at rest; none where the model does not move.
    anchors: Where props are attached: the bone (or none) and the pose relative to it.
  """

  points: Float[np.ndarray, "v 3"]
  normals: Float[np.ndarray, "v 3"]
  places: Float[np.ndarray, "v 2"]
  bones: Int[np.ndarray, "v 4"]
  weights: Float[np.ndarray, "v 4"]
  faces: Int[np.ndarray, "f 3"]
  rest: Float[np.ndarray, "b 7"]
  anchors: dict[str, tuple[int | None, Float[np.ndarray, " 7"]]]


class Archive:
  """The archive `public.zip`.

  Args:
    path: The file.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not the game's archive.
  """

  def __init__(self, path: str | os.PathLike):
    if not os.path.isfile(path):
      raise FileNotFoundError(
        f"{path}: no such file; expected public.zip of the game 0 A.D. "
        "(apt-get install 0ad-data: /usr/share/games/0ad/mods/public/public.zip)"
      )
    self._zip = zipfile.ZipFile(path)
    self._kept: dict[str, Any] = {}
    self._names = set(self._zip.namelist())
    if not self.names("art/meshes/skeletal/"):
      raise ValueError(f"{path}: no art/meshes/skeletal/; expected 0 A.D.'s public.zip")

  def names(self, start: str) -> list[str]:
    """Returns the names of the files whose names start with this, in order."""
    return sorted(name for name in self._names if name.startswith(start))

  def description(self, name: str) -> ElementTree.Element:
    """Returns the root of an XML file below art/."""
    return self._keep(f"art/{name}", ElementTree.fromstring)

  def model(self, name: str) -> Model:
    """Returns the model of a name such as "skeletal/wolf.dae"."""
    return self._keep(f"art/meshes/{name}.cached.pmd", _model)

  def motion(self, name: str) -> Float[np.ndarray, "t b 7"]:
    """Returns the poses of all bones over time, by a name such as "biped/walk.dae"."""
    return self._keep(f"art/animation/{name}.cached.psa", _motion)

  def texture(self, name: str) -> UInt8[np.ndarray, "h w 4"]:
    """Returns the RGBA texture of a path below art/textures/, not upside down."""
    return self._keep(f"art/textures/{name}.cached.dds", _texture)

  def has(self, name: str) -> bool:
    """Whether the archive has this file."""
    return name in self._names

  def _keep(self, name: str, parse: Callable[[bytes], Any]) -> Any:
    """Returns what is in a file, which is read once."""
    if name not in self._names:
      raise FileNotFoundError(f"{self._zip.filename}: no {name} in it")
    if name not in self._kept:
      self._kept[name] = parse(self._zip.read(name))
    return self._kept[name]


def _motion(content: bytes) -> Float[np.ndarray, "t b 7"]:
  (length,) = struct.unpack_from("<I", content, 12)
  bones, frames = struct.unpack_from("<II", content, 20 + length)
  values = np.frombuffer(content, "<f4", frames * bones * 7, 28 + length)
  return values.reshape(frames, bones, 7).astype(np.float64)


def _texture(content: bytes) -> UInt8[np.ndarray, "h w 4"]:
  with DdsImagePlugin.DdsImageFile(io.BytesIO(content)) as image:
    return np.asarray(image.convert("RGBA"))[::-1]


def _model(content: bytes) -> Model:
  version, count = struct.unpack_from("<I4xI", content, 4)
  at, layers = 16, 1
  if version >= 4:
    (layers,) = struct.unpack_from("<I", content, at)
    at += 4
  vertex = np.dtype(
    [
      ("point", "<f4", 3),
      ("normal", "<f4", 3),
      ("place", "<f4", (layers, 2)),
      ("bones", "u1", 4),
      ("weights", "<f4", 4),
    ]
  )
  vertices = np.frombuffer(content, vertex, count, at)
  at += vertices.nbytes
  (count,) = struct.unpack_from("<I", content, at)
  faces = np.frombuffer(content, "<u2", 3 * count, at + 4).reshape(-1, 3)
  at += 4 + faces.nbytes
  (count,) = struct.unpack_from("<I", content, at)
  rest = np.frombuffer(content, "<f4", 7 * count, at + 4).reshape(-1, 7)
  at += 4 + rest.nbytes
  (count,) = struct.unpack_from("<I", content, at)
  at += 4
  anchors = {}
  for _ in range(count):
    (length,) = struct.unpack_from("<I", content, at)
    name = content[at + 4 : at + 4 + length].decode()
    at += 4 + length
    pose = np.frombuffer(content, "<f4", 7, at).astype(np.float64)
    bone = content[at + 28]
    anchors[name] = None if bone == _NO_BONE else bone, pose
    at += 29
  used = vertices["bones"] != _NO_BONE
  return Model(
    points=vertices["point"].astype(np.float64),
    normals=vertices["normal"].astype(np.float64),
    places=vertices["place"][:, 0].astype(np.float64),
    bones=np.where(used, vertices["bones"], 0).astype(np.int64),
    weights=np.where(used, vertices["weights"], 0).astype(np.float64),
    faces=faces.astype(np.int64),
    rest=rest.astype(np.float64),
    anchors=anchors,
  )
