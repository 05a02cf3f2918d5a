"""Marks of the page: from its JSON, to and from labels.

The JSON of the page is {"species", "names": [...], "skeleton": [[name, name], ...],
"pictures": {key: {"points": {name: point}, "box": [x, y, w, h] or null}}}; a point is
{"x", "y", "sure", "hidden"}: pixel indices, the confidence of the machine that placed
it or null if a person did, and whether it is occluded.
"""

import collections
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from fskd_jax.data import coco_values, names
from fskd_jax.data.coco_file import are_finite
from fskd_jax.data.labels import completion, formats
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.demo.gallery import Gallery, Picture
from fskd_jax.files import write_bytes
from fskd_jax.messages import join_first, raise_if, shown

Box = tuple[float, float, float, float]

_SPECIES = "object"
_MOST_NAMES = 500
_SIZED = 3  # points that show how large an object is


class Marked(NamedTuple):
  """A picture with its object: keypoints by name, and a box if somebody drew it."""

  picture: Picture
  points: dict[str, Keypoint]
  box: Box | None

  def by_hand(self) -> dict[str, Keypoint]:
    """Returns the keypoints that a person placed or accepted."""
    return {n: point for n, point in self.points.items() if point.confidence is None}

  def object_box(self) -> Box | None:
    """Returns the box drawn, or one around the points that a person placed.

    One or two points give no size: their object is the whole picture. Without such a
    point there is None.
    """
    points = [(point.x, point.y) for point in self.by_hand().values()]
    if self.box or not points:
      return self.box
    if len(points) < _SIZED:
      width, height = self.picture.size
      return 0.0, 0.0, float(width), float(height)
    return coco_values.box_around(points, self.picture.size)


class Marks(NamedTuple):
  """Everything marked on a page, in the order of its pictures."""

  species: str
  names: tuple[str, ...]
  skeleton: tuple[tuple[str, str], ...]
  pictures: tuple[Marked, ...]

  def by_hand(self) -> "Marks":
    """Returns the pictures with points of a person, and those points alone."""
    pictures = tuple(
      one._replace(points=points) for one in self.pictures if (points := one.by_hand())
    )
    return self._replace(pictures=pictures)

  def file_names(self) -> list[str]:
    """Returns names for the files of the pictures: of equal names, each has a folder.

    A browser sends no folders, so that the second and third picture called a.jpg are
    2/a.jpg and 3/a.jpg.
    """
    counts = collections.Counter(one.picture.name for one in self.pictures)
    names = (one.picture.name for one in self.pictures)
    return [
      name if counts[name] == 1 else f"{place}/{name}"
      for place, name in enumerate(names, 1)
    ]


def from_json(content: Any, gallery: Gallery) -> Marks:
  """Reads the JSON of the page.

  Raises:
    ValueError: It is not laid out so, or a name cannot be written to files.
    LookupError: A picture is not there any more.
  """
  try:
    order = tuple(content["names"])
    species = content.get("species") or _SPECIES
    bad = [problem for n in (species, *order) if (problem := names.name_problem(n))]
    raise_if(bad, ValueError, "the name of a keypoint")
    if len(set(order)) < len(order) or len(order) > _MOST_NAMES:
      raise ValueError(f"names: expected at most {_MOST_NAMES}, each once")
    pictures = tuple(
      Marked(
        gallery.get(key),
        {name: _point(point) for name, point in marked["points"].items()},
        _box(marked.get("box")),
      )
      for key, marked in content["pictures"].items()
    )
    pairs = tuple((one, other) for one, other in content.get("skeleton", []))
    used = {name for marked in pictures for name in marked.points}
    unknown = (used | {name for pair in pairs for name in pair}) - set(order)
    raise_if([*map(shown, unknown)], ValueError, "points that are not in the list")
  except (AttributeError, KeyError, TypeError) as error:
    raise ValueError(f"not what the page sends: {shown(content)}") from error
  return Marks(species, order, pairs, pictures)


def to_labels(marks: Marks) -> Labels:
  """Returns labels of the pictures with a point or a box.

  Raises:
    ValueError: Nothing is marked yet.
  """
  marks = _marked(marks)
  if not marks.names or not marks.pictures:
    raise ValueError("Nothing is marked yet.")
  found = tuple(
    LabelledImage(
      name,
      one.picture.size,
      (LabelledObject(one.points, marks.species, one.object_box()),),
    )
    for name, one in zip(marks.file_names(), marks.pictures)
  )
  categories = {marks.species: Category(marks.names, marks.skeleton)}
  return completion.complete(Labels(found, categories), None, "the page").labels


def write(marks: Marks, kind: str, out: pathlib.Path) -> None:
  """Writes labels in a format; one that is a folder holds the pictures, too.

  Formats without a place for confidence get the keypoints that a person placed.

  Args:
    marks: What is marked.
    kind: A name in `formats.FORMATS`.
    out: The new file or folder.

  Raises:
    ValueError: Nothing is marked, or the format cannot hold it.
  """
  form = formats.FORMATS[kind]
  if "confidence" not in form.keeps:
    marks = marks.by_hand()
  form.write(to_labels(marks), out, out)
  if form.place:
    marks = _marked(marks)
    for name, one in zip(marks.file_names(), marks.pictures):
      write_bytes(out / form.place(name, out), one.picture.content())


def from_labels(path: pathlib.Path, gallery: Gallery) -> dict[str, Any]:
  """Reads a file of labels as the JSON of the page.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It names pictures that are not in the folder, has several objects in a
      picture, or several species: the page would lose them when it writes the file.
  """
  labels = formats.read(path)
  if len(labels.categories) != 1:
    raise ValueError(f"{path}: has {len(labels.categories)} species, expected one")
  keys = {picture.name: picture.key for picture in gallery.folder.values()}
  lost = [str(image.name) for image in labels.images if image.name not in keys]
  raise_if(lost, ValueError, f"{path}: pictures that are not in the folder")
  several = [str(image.name) for image in labels.images if len(image.objects) > 1]
  if several:
    raise ValueError(
      f"{path}: several objects in one picture, expected one: {join_first(several)}"
    )
  ((species, category),) = labels.categories.items()
  pictures = {
    keys[str(image.name)]: _picture_json(
      found, gallery.get(keys[str(image.name)]), labels
    )
    for image in labels.images
    for found in image.objects
  }
  return {
    "species": species,
    "names": [*category.keypoints],
    "skeleton": [[*pair] for pair in category.skeleton],
    "pictures": pictures,
  }


def _marked(marks: Marks) -> Marks:
  """Returns the pictures with a point or a box."""
  pictures = tuple(one for one in marks.pictures if one.points or one.box)
  return marks._replace(pictures=pictures)


def _picture_json(
  found: LabelledObject, picture: Picture, labels: Labels
) -> dict[str, Any]:
  points = {
    name: {"x": p.x, "y": p.y, "sure": p.confidence, "hidden": p.occluded}
    for name, p in found.keypoints.items()
  }
  box = found.box
  if box and points:  # a box that was made follows the points; one drawn stays
    bare = found._replace(box=Marked(picture, found.keypoints, None).object_box())
    made = completion.with_box(bare, picture.size, labels).box
    box = None if made and _are_near(box, made) else box
  return {"points": points, "box": box and [*box]}


def _are_near(one: Box, other: Box) -> bool:
  return all(abs(a - b) < 0.01 for a, b in zip(one, other))


def _point(point: Mapping[str, Any]) -> Keypoint:
  x, y, sure = point["x"], point["y"], point.get("sure")
  if not are_finite([x, y, 0 if sure is None else sure]):
    raise ValueError(f"a point is {shown(point)}, expected numbers")
  return Keypoint(float(x), float(y), bool(point.get("hidden")), sure)


def _box(box: Any) -> Box | None:
  if box is None:
    return None
  if not (isinstance(box, list) and len(box) == 4 and are_finite(box)):
    raise ValueError(f"a box is {shown(box)}, expected [x, y, width, height]")
  if min(box[2:]) < 1:
    raise ValueError("The box is empty: drag from one corner to the opposite one.")
  return (box[0], box[1], box[2], box[3])
