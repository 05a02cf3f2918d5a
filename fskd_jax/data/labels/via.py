"""Reads the VGG Image Annotator, version 1 and 2: projects and exports (JSON, CSV).

Points are regions; the attribute that tells them apart is the name of the keypoint.
Rectangles are boxes. Coordinates are whole pixels, taken as pixel indices. Files have
no image sizes. Source: www.robots.ox.ac.uk/~vgg/software/via.
"""

import collections
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from fskd_jax.data.labels import csv_rows, json_kinds, parsing
from fskd_jax.data.labels.marks import Mark, assemble
from fskd_jax.data.labels.schema import Keypoint, LabelledImage, Labels, gather
from fskd_jax.messages import naming, shown

_log = logging.getLogger(__name__)

Region = tuple[dict[str, Any], dict[str, Any]]
"""The attributes of the shape, and those that a person gave."""

_GROUPS = ("group", "group_id", "object", "object_id", "instance", "individual", "id")
"""Attributes that tell the objects of an image apart."""

_CELLS = ("region_shape_attributes", "region_attributes")
"""Columns of an export as CSV that hold JSON."""


def read(path: pathlib.Path) -> Labels:
  """Reads a project or an export.

  Raises:
    ValueError: The file is damaged, no attribute names the points, or an image has a
      name twice.
  """
  content = json_kinds.content(path)
  entries = content.get("_via_img_metadata", content)
  if not isinstance(entries, dict):
    raise ValueError(f"{path}: expected the images of VIA by their ids")
  return _labels([_entry(entry, path) for entry in entries.values()], path)


def is_csv(path: pathlib.Path) -> bool:
  """Whether a file is an export as CSV: a row for each region, with JSON in it."""
  if path.suffix.lower() != ".csv":
    return False
  header = csv_rows.read(path)[:1]
  return bool(header) and {"filename", *_CELLS} <= {*header[0]}


def read_csv(path: pathlib.Path) -> Labels:
  """Reads an export as CSV.

  Raises:
    ValueError: As `read`.
  """
  header, *rows = csv_rows.read(path)
  images: dict[str, list[dict[str, Any]]] = {}
  for cells in rows:
    row = dict(zip(header, cells))
    regions = images.setdefault(row["filename"], [])
    with naming(path):
      shape, given = (json.loads(row.get(key) or "{}") for key in _CELLS)
    if shape:  # an image without a region has a row, too
      regions.append({"shape_attributes": shape, "region_attributes": given})
  entries = [{"filename": name, "regions": found} for name, found in images.items()]
  return _labels([_entry(entry, path) for entry in entries], path)


def _labels(parsed: Sequence[tuple[str, list[Region]]], path: pathlib.Path) -> Labels:
  """Makes labels of the regions of all images; raises as `read`."""
  shapes = collections.Counter(
    shown(shape.get("name")) for _, found in parsed for shape, _ in found
  )
  others = {n: c for n, c in shapes.items() if n not in ("'point'", "'rect'")}
  if others:
    told = ", ".join(f"{count} {name}" for name, count in others.items())
    _log.warning("%s: left out: regions that are no points or boxes: %s", path, told)
  key = _naming_attribute([found for _, found in parsed], path)
  images: dict[str, LabelledImage] = {}
  for name, found in parsed:
    if name in images:
      raise ValueError(f"{path}: two images have the name {name}")
    where = f"{path}: image {name!r}"
    marks = [m for region in found if (m := _mark(*region, key, where))]
    if key is None:
      marks = _numbered(marks)
    images[name] = LabelledImage(name, None, assemble(marks, where, "group attribute"))
  return gather(images.values())


def _entry(entry: Any, path: pathlib.Path) -> tuple[str, list[Region]]:
  name = entry.get("filename") if isinstance(entry, dict) else None
  if not isinstance(name, str) or not name:
    raise ValueError(f"{path}: an image has the file name {shown(name)}")
  regions = entry.get("regions") or []
  regions = [*regions.values()] if isinstance(regions, dict) else regions
  found = []
  for region in regions if isinstance(regions, list) else [regions]:
    parts = isinstance(region, dict) and [
      region.get(key) or {} for key in ("shape_attributes", "region_attributes")
    ]
    if not parts or not all(isinstance(part, dict) for part in parts):
      raise ValueError(f"{path}: image {name!r}: a region is {shown(region)}")
    found.append((parts[0], parts[1]))
  return name, found


def _naming_attribute(
  images: Sequence[Sequence[Region]], path: pathlib.Path
) -> str | None:
  """Returns the attribute that tells the points of an image apart; None without any.

  Raises:
    ValueError: Several attributes do, or none of those that there are.
  """
  points = [[given for shape, given in found if _is_point(shape)] for found in images]
  keys = dict.fromkeys(key for found in points for given in found for key in given)
  keys = [key for key in keys if key not in _GROUPS]
  if not keys:
    return None
  apart = [
    key
    for key in keys
    if all(key in given and isinstance(given[key], str) for x in points for given in x)
    and any(len({given[key] for given in found}) > 1 for found in points)
  ]
  chosen = apart if len(apart) == 1 else keys if len(keys) == 1 else []
  named = [key for key in apart if key in ("name", "label", "keypoint", "landmark")]
  if len(chosen) != 1 and len(named) != 1:
    raise ValueError(
      f"{path}: points have the attributes {', '.join(keys)}, and not one alone tells "
      "those of an image apart; call that of the keypoint 'name'"
    )
  return (named or chosen)[0]


def _is_point(shape: dict[str, Any]) -> bool:
  return shape.get("name") == "point"


def _mark(
  shape: dict[str, Any], given: dict[str, Any], key: str | None, where: str
) -> Mark | None:
  groups = [given[name] for name in _GROUPS if given.get(name) not in (None, "")]
  group = parsing.identity(groups[0]) if groups else None
  kind = shape.get("name")
  fields = {"point": ("cx", "cy"), "rect": ("x", "y", "width", "height")}.get(
    kind if isinstance(kind, str) else ""
  )
  if fields is None:
    return None
  values = [parsing.number(shape.get(f), f"{where}: {f} of a region") for f in fields]
  label = given.get(key) if key else None
  if kind == "point":
    if key and not (isinstance(label, str) and label):
      raise ValueError(
        f"{where}: a point has the {key} {shown(label)}, expected a text"
      )
    occluded = str(given.get("visibility", "")).lower() == "occluded"
    return Mark(label or "", group, Keypoint(values[0], values[1], occluded))
  texts = [text for text in given.values() if isinstance(text, str) and text]
  x, y, width, height = values
  box = (x, y, width, height)
  return Mark(texts[0] if texts else "", group, box=box)


def _numbered(marks: Sequence[Mark]) -> list[Mark]:
  """Returns marks whose points are called 1, 2, ... in each group, in their order."""
  counts: collections.Counter[str | None] = collections.Counter()
  named = []
  for mark in marks:
    counts[mark.group] += bool(mark.point)
    named.append(mark._replace(label=str(counts[mark.group])) if mark.point else mark)
  return named
