"""Reads plain JSON, as one writes it by hand: {name: [x, y]}, or that for each image.

An object may also be {"keypoints": {name: [x, y]}, "box": [x, y, width, height],
"skeleton": [[name, name]]}, and an image may have a list of objects. A keypoint that is
null, or has a third number of 0, is not visible.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from fskd_jax.data import images, names
from fskd_jax.data.coco_file import are_finite
from fskd_jax.data.labels import json_kinds
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.messages import naming, shown

_TOOLS = {"shapes", "annotations", "objects"}  # keys of the files of tools


class Marked(NamedTuple):
  """One object marked in an image; pixel indices of the image as it was shown.

  Attributes:
    keypoints: (x, y) by name; None where not visible.
    box: (x, y, width, height), or None.
    skeleton: Pairs of names, for drawing.
    size: (width, height) of the image on which it was marked, or None.
  """

  keypoints: dict[str, tuple[float, float] | None]
  box: tuple[float, float, float, float] | None = None
  skeleton: tuple[tuple[str, str], ...] = ()
  size: tuple[int, int] | None = None


def is_object(content: Any) -> bool:
  """Whether JSON is one object of any image, as opposed to a file of a tool."""
  if not isinstance(content, dict) or content.keys() & _TOOLS:
    return False
  points = content.get("keypoints", content)
  return isinstance(points, dict) and not any(
    isinstance(value, dict) for value in points.values()
  )


def is_one(path: pathlib.Path) -> bool:
  """Whether a file holds objects by the names of their images."""
  content = json_kinds.content(path)
  return (
    isinstance(content, dict) and bool(content) and all(map(images.has_suffix, content))
  )


def read(path: pathlib.Path) -> Labels:
  """Reads the objects of several images.

  Raises:
    ValueError: An object is not as `parse` expects it.
  """
  labelled, keypoints, skeleton = [], {}, {}
  for name, found in json_kinds.content(path).items():
    with naming(f"{path}: image {shown(name)}"):
      marked = [*_objects(found)]
    for one in marked:
      keypoints.update(dict.fromkeys(one.keypoints))
      skeleton.update(dict.fromkeys(one.skeleton))
    labelled.append(LabelledImage(name, None, tuple(map(_labelled, marked))))
  category = Category(tuple(keypoints), tuple(skeleton))
  return Labels(tuple(labelled), {"": category} if keypoints else {})


def _objects(content: Any) -> Iterator[Marked]:
  for one in content if isinstance(content, list) else [content]:
    if not is_object(one):
      raise ValueError(f"expected {{name: [x, y]}}, got {shown(one)}")
    yield parse(one)


def _labelled(marked: Marked) -> LabelledObject:
  points = {n: Keypoint(*xy) for n, xy in marked.keypoints.items() if xy}
  return LabelledObject(points, box=marked.box)


def parse(content: dict[str, Any]) -> Marked:
  """Reads one object.

  Raises:
    ValueError: A name cannot be one, or a keypoint, box or skeleton is of another form.
  """
  points, others = content, {}
  if isinstance(content.get("keypoints"), dict):
    points, others = content["keypoints"], content
  keypoints: dict[str, tuple[float, float] | None] = {}
  for name, point in points.items():
    if problem := names.name_problem(name):
      raise ValueError(f"the name of a keypoint {problem}")
    values = [0, 0, 0] if point is None else point
    if not (isinstance(values, list) and len(values) in (2, 3) and are_finite(values)):
      raise ValueError(f"{name!r} is {shown(point)}, expected [x, y] or null")
    keypoints[name] = None if values[2:] == [0] else (values[0], values[1])
  box, skeleton = others.get("box"), []
  if box is not None:
    if not (isinstance(box, list) and len(box) == 4 and are_finite(box)):
      raise ValueError(f"box is {shown(box)}, expected [x, y, width, height]")
    box = (box[0], box[1], box[2], box[3])
  pairs = others.get("skeleton", [])
  for pair in pairs if isinstance(pairs, list) else [pairs]:
    ends = pair if isinstance(pair, list) else []
    if len(ends) != 2 or not all(isinstance(e, str) and e in keypoints for e in ends):
      raise ValueError(f"skeleton holds {shown(pair)}, expected two keypoint names")
    skeleton.append((ends[0], ends[1]))
  return Marked(keypoints, box, tuple(skeleton))
