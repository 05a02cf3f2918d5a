"""Reads the keypoints of single images from the files of annotation tools.

These are all formats of `labels.formats`, which include the files that `fskd predict`
writes, and plain JSON ({name: [x, y]}).
"""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fskd_jax.data import names
from fskd_jax.data.coco_file import are_finite
from fskd_jax.data.labels import formats, tables
from fskd_jax.files import read_json
from fskd_jax.messages import naming, shown

_log = logging.getLogger(__name__)


class Marked(NamedTuple):
  """One object marked in an image; pixel indices of the image as it was shown.

  Attributes:
    keypoints: (x, y) by name; None where not visible.
    box: (x, y, width, height), or None.
    skeleton: Pairs of names, for drawing.
    size: (width, height) of the image on which it was marked, or None.
  """

  keypoints: dict[str, tuple[float, float] | None]
  box: tuple[float, ...] | None = None
  skeleton: tuple[tuple[str, str], ...] = ()
  size: tuple[int, int] | None = None


def read(path: pathlib.Path, image: str) -> list[Marked]:
  """Reads the objects marked in one image.

  Args:
    path: Path of a .json, .csv, .h5 or .xml file.
    image: Name of the image file, by which files of many images are searched. A file of
      a single image is taken for this one, whatever the image is called there.

  Returns:
    The objects marked.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file cannot be read, or does not have the image.
  """
  if not path.is_file():
    raise FileNotFoundError(f"there is no keypoint file {path}")
  if path.suffix.lower() == ".json":
    content = read_json(path)
    if isinstance(content, dict) and not content.keys() & {"shapes", "annotations"}:
      with naming(path):
        return [_from_plain(content)]
  labels = formats.read(path)
  listed = [
    n if isinstance(n, int) else pathlib.PurePosixPath(n).name
    for n in (entry.name for entry in labels.images)
  ]
  entry = labels.images[listed.index(_choose(path, pathlib.Path(image).name, listed))]
  found = []
  for marked in entry.objects:
    category = labels.categories[marked.species]
    doubtful = [n for n, p in marked.keypoints.items() if not labels.trusts(p)]
    if doubtful:
      _log.warning(
        "%s: a machine placed these in %s with a confidence below %g; left out: %s",
        path, image, labels.least_confidence, ", ".join(doubtful),
      )  # fmt: skip
    points = {n: p for n, p in marked.keypoints.items() if n not in doubtful}
    keypoints = {
      name: (points[name].x, points[name].y) if name in points else None
      for name in category.keypoints
    }
    found.append(Marked(keypoints, marked.box, category.skeleton, entry.size))
  if not found:
    raise ValueError(f"{path}: image {image!r} has no annotation")
  return found


def _from_plain(content: Mapping[str, Any]) -> Marked:
  """Reads {name: [x, y]}, or that under "keypoints" beside "box" and "skeleton"."""
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
    box = tuple(box)
  pairs = others.get("skeleton", [])
  for pair in pairs if isinstance(pairs, list) else [pairs]:
    ends = pair if isinstance(pair, list) else []
    if len(ends) != 2 or not all(isinstance(e, str) and e in keypoints for e in ends):
      raise ValueError(f"skeleton holds {shown(pair)}, expected two keypoint names")
    skeleton.append((ends[0], ends[1]))
  return Marked(keypoints, box, tuple(skeleton))


def _choose(path: pathlib.Path, image: str, keys: Sequence[str | int]) -> str | int:
  """Returns the key of an image: its name, the number in it, or the only one."""
  if image in keys:
    return image
  number = tables.frame_number(image)
  if number is not None and number in keys:
    return number
  if len(keys) == 1:
    return keys[0]
  shown = ", ".join(map(repr, keys[:3]))
  raise ValueError(f"{path}: has nothing for {image!r}; it has {len(keys)}: {shown} ..")
