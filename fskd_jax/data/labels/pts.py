"""Reads .pts files of facial landmarks (300-W, XM2VTS): one object in each file.

face.pts beside face.jpg holds "n_points: 68" and lines of x and y in braces. They count
from 1, as MATLAB does, and have no names: "1", "2", ..
"""

import pathlib

from fskd_jax.data.labels import parsing, pictures_near
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.messages import shown

_MOST_BYTES = 2**22
_FROM_ONE = -1.0


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Labels:
  """Reads a file, or all of a folder and the folders in it.

  Args:
    path: The file or folder.
    images: The folder of the images; that of the files if it is not given.

  Raises:
    FileNotFoundError: None of the images is there.
    ValueError: There is no file, or one is damaged.
  """
  files = sorted(path.rglob("*.pts")) if path.is_dir() else [path]
  if not files:
    raise ValueError(f"{path}: no .pts file in it")
  root = path if path.is_dir() else path.parent
  names = {f: f.relative_to(root).with_suffix("").as_posix() for f in files}
  found = pictures_near.find([*names.values()], path, images)
  labelled, count = [], 0
  for file, name in names.items():
    if picture := found.get(name):
      points = _points(file)
      count = max(count, len(points))
      keypoints = dict(zip(parsing.numbered(len(points)), points))
      labelled.append(
        LabelledImage(picture.name, picture.size, (LabelledObject(keypoints),))
      )
  return Labels(tuple(labelled), {"": Category(parsing.numbered(count))})


def _points(path: pathlib.Path) -> list[Keypoint]:
  """Returns the points in the braces of a file."""
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB of text")
  text = path.read_bytes().decode("utf-8-sig", "replace")
  head, brace, rest = text.partition("{")
  body, end, _ = rest.partition("}")
  if not brace or not end:
    raise ValueError(f"{path}: expected points in braces, as 300-W has them")
  points = []
  for line in filter(str.strip, body.splitlines()):
    cells = line.split()
    if len(cells) != 2:
      raise ValueError(f"{path}: a point is {shown(line)}, expected x y")
    x, y = (parsing.number(cell, f"{path}: a coordinate") for cell in cells)
    points.append(Keypoint(x + _FROM_ONE, y + _FROM_ONE))
  told = [line.split(":")[1] for line in head.splitlines() if "n_points" in line]
  if told and parsing.whole_number(told[0]) != len(points):
    raise ValueError(f"{path}: {len(points)} points, but n_points is {shown(told[0])}")
  return points
