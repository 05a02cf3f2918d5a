"""Reads and writes LabelMe: a JSON file per image, with points and rectangles.

The marks of an object share a group_id; its species is the label of its rectangle.
Occlusion is one of LabelMe's free flags, {"occluded": true}, which is our convention.
Coordinates count from the corner of the first pixel. Other shapes (polygons, lines) are
skipped.
"""

import os
import pathlib
import posixpath
from typing import Any

from fskd_jax.data import names
from fskd_jax.data.labels import parsing
from fskd_jax.data.labels.marks import Mark, assemble
from fskd_jax.data.labels.schema import (
  TO_CENTER,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  gather,
)
from fskd_jax.files import read_json, write_json
from fskd_jax.messages import raise_if, shown

_VERSION = "5.5.0"


def read(path: pathlib.Path) -> Labels:
  """Reads a file, or all .json files in a folder and below.

  Raises:
    FileNotFoundError: The folder has no .json file.
    ValueError: A file is damaged, or two files have the same image.
  """
  files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
  if not files:
    raise FileNotFoundError(f"{path}: no .json file in it; expected those of LabelMe")
  root = path if path.is_dir() else path.parent
  if path.is_dir():
    led = names.outside(path, [os.fspath(file.relative_to(path)) for file in files])
    raise_if(led, ValueError, f"{path}: files that are links out of the folder")
  images: dict[str, LabelledImage] = {}
  for file in files:
    image = _read_file(file, root)
    if str(image.name) in images:
      raise ValueError(f"{file}: another file is of its image {image.name}, too")
    images[str(image.name)] = image
  return gather(images.values())


def _read_file(path: pathlib.Path, root: pathlib.Path) -> LabelledImage:
  content = read_json(path)
  shapes = content.get("shapes") if isinstance(content, dict) else None
  if not isinstance(shapes, list) or not all(isinstance(s, dict) for s in shapes):
    raise ValueError(f"{path}: has no list of shapes; expected a file of LabelMe")
  marks = [mark for shape in shapes for mark in _marks(shape, path)]
  name = content.get("imagePath") or path.stem
  if not isinstance(name, str):
    raise ValueError(f"{path}: imagePath is {shown(name)}, expected a text")
  name = name.replace("\\", "/")
  below = path.parent.relative_to(root).as_posix()
  parts = posixpath.normpath(posixpath.join(below, name)).split("/")
  return LabelledImage(
    "/".join(part for part in parts if part != ".."),
    parsing.size_of(content.get("imageWidth"), content.get("imageHeight")),
    assemble(marks, str(path), "group_id"),
  )


def _marks(shape: dict[str, Any], path: pathlib.Path) -> list[Mark]:
  kind, label = shape.get("shape_type", "point"), shape.get("label")
  if kind not in ("point", "rectangle"):
    return []
  if not isinstance(label, str):
    raise ValueError(f"{path}: a label is {shown(label)}, expected a text")
  where = f"{path}: a coordinate of {shown(label)}"
  pairs = shape.get("points")
  count = 1 if kind == "point" else 2
  if not (
    isinstance(pairs, list)
    and len(pairs) == count
    and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
  ):
    raise ValueError(
      f"{path}: the points of {shown(label)} are {shown(pairs)}, expected {count} of "
      "[x, y]"
    )
  points = [[parsing.number(value, where) for value in pair] for pair in pairs]
  group = parsing.identity(shape.get("group_id"))
  if kind == "rectangle":
    (x0, x1), (y0, y1) = (sorted(axis) for axis in zip(*points))
    return [Mark(label, group, box=(x0, y0, x1 - x0, y1 - y0))]
  x, y = (value + TO_CENTER for value in points[0])
  flags = shape.get("flags")
  occluded = isinstance(flags, dict) and bool(flags.get("occluded"))
  return [Mark(label, group, Keypoint(x, y, occluded))]


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a folder of files, which belong beside the images.

  Raises:
    ValueError: Two images differ only in their suffix.
  """
  unfinished.mkdir()
  for image in labels.images:
    assert image.size and isinstance(image.name, str)
    file = unfinished / pathlib.Path(image.name).with_suffix(".json")
    if file.exists():
      raise ValueError(f"{out}: {image.name} and another image would share {file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
      "version": _VERSION,
      "flags": {},
      "shapes": [
        shape
        for number, found in enumerate(image.objects, 1)
        for shape in _shapes(found, number)
      ],
      "imagePath": pathlib.Path(image.name).name,
      "imageData": None,
      "imageHeight": image.size[1],
      "imageWidth": image.size[0],
    }
    write_json(file, content)


def _shapes(found: LabelledObject, group: int) -> list[dict[str, Any]]:
  common = {"group_id": group, "description": "", "mask": None}
  shapes = [
    {
      "label": name,
      "points": [[point.x - TO_CENTER, point.y - TO_CENTER]],
      "shape_type": "point",
      "flags": {"occluded": True} if point.occluded else {},
      **common,
    }
    for name, point in found.keypoints.items()
  ]
  if found.box:
    x, y, w, h = found.box
    corners = [[x, y], [x + w, y + h]]
    box = {"label": found.species, "points": corners, "shape_type": "rectangle"}
    shapes.append({**box, "flags": {}, **common})
  return shapes
