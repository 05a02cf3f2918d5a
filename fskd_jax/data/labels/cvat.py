"""Reads and writes CVAT 1.1: one XML file, for images or for video.

An object is a skeleton, whose elements are named points with `outside` (missing) and
`occluded`, or single points that share a group_id, or one shape of several points,
which are called 1, 2, ... A box of the same group_id is the object's box, or else that
which holds its points; group_id 0 means no group. In a video a track is an object, and
frames are numbers. Coordinates count from the corner of the first pixel. Source:
docs.cvat.ai, "XML annotation format" (version 1.1).
"""

import collections
import itertools
import logging
import pathlib
from collections.abc import Container, Iterator, Mapping, Sequence
from xml.etree import ElementTree

from fskd_jax.data.labels import parsing, xml_file
from fskd_jax.data.labels.marks import Mark, assemble
from fskd_jax.data.labels.schema import (
  TO_CENTER,
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  gather,
)
from fskd_jax.messages import join_first, shown

_log = logging.getLogger(__name__)

_BOX = "box"  # label of written boxes: CVAT does not allow that of a skeleton


def read(path: pathlib.Path) -> Labels:
  """Reads a file.

  Of a video, frames are read that have a keyframe, set by a person; frames whose marks
  CVAT interpolated are counted in a warning.

  Raises:
    ValueError: The file is not CVAT's XML, or has a label that is not in its list.
  """
  root = xml_file.parse(path)
  entries, tracks = root.findall("image"), root.findall("track")
  if root.tag != "annotations" or not (entries or tracks):
    raise ValueError(f"{path}: no images or tracks in it; expected an export of CVAT")
  listed = _listed(root)
  known = {label: None for label, parent in listed if not parent}
  several = _of_several_points([*entries, *tracks], path)
  if tracks:
    if len(root.findall("meta/project/tasks/task")) > 1:
      raise ValueError(
        f"{path}: videos of several tasks, whose frames have the same numbers; export "
        "the tasks one by one"
      )
    found = gather(_read_frames(root, tracks, known, several, path))
  else:
    images: dict[str, LabelledImage] = {}
    for entry in entries:
      name = entry.get("name", "")
      if name in images:
        raise ValueError(f"{path}: two images have the name {name}")
      where = f"{path}: image {shown(name)}"
      marks = [
        mark
        for place, shape in enumerate(entry)
        for mark in _marks(shape, shape.get("label", ""), place, known, several, where)
      ]
      size = parsing.size_of(entry.get("width"), entry.get("height"))
      images[name] = LabelledImage(name, size, assemble(marks, where, "group"))
    found = gather(images.values())
  return found._replace(categories=_in_order(found.categories, listed))


def _of_several_points(
  parents: Sequence[ElementTree.Element], path: pathlib.Path
) -> set[str]:
  """Returns the labels whose shapes have several points, in one order."""
  counts: dict[str, set[int]] = collections.defaultdict(set)
  for parent in parents:
    for shape in parent.iterfind("points"):
      label = shape.get("label", parent.get("label", ""))
      counts[label].add(len(shape.get("points", "").split(";")))
  several = {label for label, numbers in counts.items() if max(numbers) > 1}
  for label in sorted(several):
    if len(counts[label]) > 1:
      _log.warning(
        "%s: shapes of %r have %d to %d points; those of the shorter are taken for the "
        "first", path, label, min(counts[label]), max(counts[label]),
      )  # fmt: skip
  return several


def _read_frames(
  root: ElementTree.Element,
  tracks: Sequence[ElementTree.Element],
  known: Mapping[str, None],
  several: Container[str],
  path: pathlib.Path,
) -> Iterator[LabelledImage]:
  frames: dict[int, list[Mark]] = collections.defaultdict(list)
  keyframes = set()
  for place, track in enumerate(tracks):
    for shape in track:
      number = parsing.whole_number(shape.get("frame", ""))
      if number is None:
        continue
      if any(s.get("keyframe") == "1" for s in shape.iter()):
        keyframes.add(number)
      if shape.get("outside") != "1":
        shape.set("group_id", track.get("group_id", "0"))
        where = f"{path}: frame {number}"
        label = track.get("label", "")
        frames[number] += _marks(shape, label, place, known, several, where)
  lost = len(frames.keys() - keyframes)
  if lost:
    _log.warning("%s: left out: %d frames that CVAT interpolated", path, lost)
  size_of = next(root.iterfind("meta//original_size"), None)
  sides = (
    [size_of.findtext(s) for s in ("width", "height")]
    if size_of is not None
    else [None] * 2
  )
  for number in sorted(frames.keys() & keyframes):
    objects = assemble(frames[number], f"{path}: frame {number}", "group")
    yield LabelledImage(number, parsing.size_of(*sides), objects)


def _listed(root: ElementTree.Element) -> list[tuple[str, str]]:
  """Returns the labels that the file lists, each with its parent label or ""."""
  return [
    (label.findtext("name", ""), label.findtext("parent", ""))
    for label in root.iterfind("meta//labels/label")
  ]


def _in_order(
  categories: dict[str, Category], listed: Sequence[tuple[str, str]]
) -> dict[str, Category]:
  """Orders keypoints as the list does, and adds the missing points of skeletons."""
  ordered = {}
  for species, category in categories.items():
    names = [
      name
      for name, parent in listed
      if (parent == species if parent else name in category.keypoints)
    ]
    ordered[species] = Category(tuple(dict.fromkeys((*names, *category.keypoints))))
  return ordered


def _marks(
  shape: ElementTree.Element,
  label: str,
  place: int,
  known: Mapping[str, None],
  several: Container[str],
  where: str,
) -> list[Mark]:
  """Returns the marks of a shape that has `place` in its image."""
  if known and shape.tag in ("skeleton", "points", "box") and label not in known:
    raise ValueError(
      f"{where}: unknown label {shown(label)}; the file lists {join_first(known, ', ')}"
    )
  group = shape.get("group_id", "0")
  group = None if group == "0" else group
  if shape.tag == "skeleton":
    group = group or f"skeleton {place}"
    points = [
      _point(element, element.get("label", ""), group, where)
      for element in shape.iterfind("points")
    ]
    return [Mark("", group, species=label), *(m for m in points if m.point)]
  if shape.tag == "points" and label in several:
    group = group or f"points {place}"
    texts = shape.get("points", "").split(";")
    is_hidden = shape.get("occluded") == "1"
    points = [
      Mark(name, group, _keypoint(text, label, is_hidden, where), species=label)
      for name, text in zip(map(str, itertools.count(1)), texts)
    ]
    return points
  if shape.tag == "points":
    mark = _point(shape, label, group, where)
    return [mark] if mark.point else []
  if shape.tag == "box":
    left, top, right, bottom = (
      parsing.number(shape.get(key), f"{where}: {key} of {label!r}")
      for key in ("xtl", "ytl", "xbr", "ybr")
    )
    return [Mark(label, group, box=(left, top, right - left, bottom - top))]
  return []


def _point(
  element: ElementTree.Element, label: str, group: str | None, where: str
) -> Mark:
  if element.get("outside") == "1":
    return Mark(label, group)
  is_hidden = element.get("occluded") == "1"
  text = element.get("points", "")
  return Mark(label, group, _keypoint(text, label, is_hidden, where))


def _keypoint(text: str, label: str, is_hidden: bool, where: str) -> Keypoint:
  pair = text.split(",")
  if len(pair) != 2:
    raise ValueError(
      f"{where}: {label!r} has the points {shown(text)}, expected one x,y for each "
      "label"
    )
  x, y = (parsing.number(v, f"{where}: a coordinate of {label!r}") for v in pair)
  return Keypoint(x + TO_CENTER, y + TO_CENTER, is_hidden)


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes skeletons, with all labels in the list at the top."""
  root = ElementTree.Element("annotations")
  ElementTree.SubElement(root, "version").text = "1.1"
  task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
  ElementTree.SubElement(task, "size").text = str(len(labels.images))
  listed = ElementTree.SubElement(task, "labels")
  for species, category in labels.categories.items():
    _list(listed, species, "skeleton")
    for name in category.keypoints:
      _list(listed, name, "points", species)
  if any(found.box for image in labels.images for found in image.objects):
    _list(listed, _BOX, "bbox")
  for number, image in enumerate(labels.images):
    assert image.size and isinstance(image.name, str)
    entry = ElementTree.SubElement(
      root,
      "image",
      id=str(number),
      name=image.name,
      width=str(image.size[0]),
      height=str(image.size[1]),
    )
    for group, found in enumerate(image.objects, 1):
      names = labels.categories[found.species].keypoints
      _write_object(entry, found, names, str(group))
  ElementTree.indent(root)
  tree = ElementTree.ElementTree(root)
  tree.write(unfinished, encoding="utf-8", xml_declaration=True)


def _list(
  listed: ElementTree.Element, name: str, kind: str, parent: str | None = None
) -> None:
  label = ElementTree.SubElement(listed, "label")
  ElementTree.SubElement(label, "name").text = name
  ElementTree.SubElement(label, "type").text = kind
  ElementTree.SubElement(label, "attributes")
  if parent is not None:
    ElementTree.SubElement(label, "parent").text = parent


def _write_object(
  entry: ElementTree.Element,
  found: LabelledObject,
  names: tuple[str, ...],
  group: str,
) -> None:
  common = {"source": "file", "z_order": "0", "group_id": group}
  skeleton = ElementTree.SubElement(
    entry, "skeleton", {"label": found.species, **common}
  )
  for name in names:
    point = found.keypoints.get(name)
    x, y = (point.x - TO_CENTER, point.y - TO_CENTER) if point else (0, 0)
    ElementTree.SubElement(
      skeleton,
      "points",
      label=name,
      source="file",
      outside=str(int(point is None)),
      occluded=str(int(point is not None and point.occluded)),
      points=f"{x!r},{y!r}",
    )
  if found.box:
    x, y, w, h = found.box
    corners = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
    texts = {key: repr(value) for key, value in corners.items()}
    ElementTree.SubElement(
      entry, "box", {"label": _BOX, "occluded": "0"} | texts | common
    )
