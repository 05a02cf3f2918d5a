"""Reads and writes CVAT for images 1.1: one XML file.

An object is a skeleton, whose elements are named points with `outside` (missing) and
`occluded`, or single points that share a group_id. A box of the same group_id is the
object's box; group_id 0 means no group. Coordinates count from the corner of the first
pixel. Source: docs.cvat.ai, "XML annotation format" (version 1.1).
"""

import pathlib
from collections.abc import Sequence
from xml.etree import ElementTree

from fskd_jax.data.labels import parsing, xml_file
from fskd_jax.data.labels.parsing import Mark
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

_BOX = "box"  # label of written boxes: CVAT does not allow that of a skeleton


def read(path: pathlib.Path) -> Labels:
  """Reads a file.

  Raises:
    ValueError: The file is not CVAT's XML, or has a label that is not in its list.
  """
  root = xml_file.parse(path)
  entries = root.findall("image")
  if root.tag != "annotations" or not entries:
    hint = "; it is CVAT for video" if root.find("track") is not None else ""
    raise ValueError(
      f"{path}: no images in it; expected an export as CVAT for images 1.1{hint}"
    )
  listed = _listed(root)
  images: dict[str, LabelledImage] = {}
  for entry in entries:
    image = _read_image(entry, listed, path)
    if str(image.name) in images:
      raise ValueError(f"{path}: two images have the name {image.name}")
    images[str(image.name)] = image
  found = gather(images.values())
  return found._replace(categories=_in_order(found.categories, listed))


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


def _read_image(
  entry: ElementTree.Element, listed: Sequence[tuple[str, str]], path: pathlib.Path
) -> LabelledImage:
  known = {label: None for label, parent in listed if not parent}
  name = entry.get("name", "")
  where = f"{path}: image {shown(name)}"
  marks = []
  for place, shape in enumerate(entry):
    label = shape.get("label", "")
    if known and shape.tag in ("skeleton", "points", "box") and label not in known:
      raise ValueError(
        f"{where}: unknown label {shown(label)}; the file lists "
        f"{join_first(known, ', ')}"
      )
    group = shape.get("group_id", "0")
    group = None if group == "0" else group
    if shape.tag == "skeleton":
      group = group or f"skeleton {place}"
      marks.append(Mark("", group, species=label))
      marks += [_point(element, group, where) for element in shape.iterfind("points")]
    elif shape.tag == "points":
      marks.append(_point(shape, group, where))
    elif shape.tag == "box":
      left, top, right, bottom = (
        parsing.number(shape.get(key), f"{where}: {key} of {label!r}")
        for key in ("xtl", "ytl", "xbr", "ybr")
      )
      marks.append(Mark(label, group, box=(left, top, right - left, bottom - top)))
  marks = [m for m in marks if m.point or m.box or m.species]
  size = parsing.size_of(entry.get("width"), entry.get("height"))
  return LabelledImage(name, size, parsing.assemble(marks, where, "group"))


def _point(element: ElementTree.Element, group: str | None, where: str) -> Mark:
  label, text = element.get("label", ""), element.get("points", "")
  if element.get("outside") == "1":
    return Mark(label, group)
  pairs = [pair.split(",") for pair in text.split(";")]
  if len(pairs) != 1 or len(pairs[0]) != 2:
    raise ValueError(
      f"{where}: {label!r} has the points {shown(text)}, expected one x,y for each "
      "label"
    )
  x, y = (parsing.number(v, f"{where}: a coordinate of {label!r}") for v in pairs[0])
  occluded = element.get("occluded") == "1"
  return Mark(label, group, Keypoint(x + TO_CENTER, y + TO_CENTER, occluded))


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
