"""Reads Supervisely: a JSON file for each image, in ann/ beside img/, and meta.json.

An object is a graph, whose nodes are named in meta.json, or points and a rectangle of
an image. Coordinates are pixel indices; a rectangle includes its last pixels. Source:
docs.supervisely.com, "Supervisely annotation format".
"""

import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from fskd_jax.data import names
from fskd_jax.data.labels import json_kinds, parsing
from fskd_jax.data.labels.marks import Mark, assemble
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  Labels,
  gather,
)
from fskd_jax.files import read_json
from fskd_jax.messages import naming, raise_if, shown

_log = logging.getLogger(__name__)

_META, _ANNOTATIONS, _IMAGES = "meta.json", "ann", "img"

Graph = tuple[dict[str, str], tuple[tuple[str, str], ...]]
"""The names of nodes by id, and pairs of names."""


def is_one(path: pathlib.Path) -> bool:
  """Whether a path is an annotation, or a folder of them."""
  return bool(_files(path)[:1]) and json_kinds.is_supervisely(_files(path)[0])


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  if not path.is_dir():
    return [path]
  is_inner = path.absolute().name == _ANNOTATIONS
  pattern = "*.json" if is_inner else f"**/{_ANNOTATIONS}/*.json"
  return sorted(file for file in path.glob(pattern) if file.is_file())


def read(path: pathlib.Path) -> Labels:
  """Reads a project, one of its data sets, a folder ann/, or a file in it.

  Raises:
    ValueError: A file is damaged, or a node has no name in meta.json.
  """
  files = _files(path)
  root = path if path.is_dir() else path.parent
  led = names.outside(root, [os.fspath(file.relative_to(root)) for file in files])
  raise_if(led, ValueError, f"{path}: files that are links out of the folder")
  graphs = _graphs(path)
  others: dict[str, int] = {}
  images = [_read_file(file, root, graphs, others) for file in files]
  if others:
    told = ", ".join(f"{count} {kind}" for kind, count in others.items())
    _log.warning("%s: left out: shapes that are no keypoints: %s", path, told)
  found = gather(images)
  categories = {
    species: Category(
      (*dict.fromkeys(graphs[species][0].values()),), graphs[species][1]
    )
    if species in graphs
    else category
    for species, category in found.categories.items()
  }
  return found._replace(categories=categories)


def _graphs(path: pathlib.Path) -> dict[str, Graph]:
  """Returns the graphs of meta.json in a folder or one of the three above, by class."""
  folders = [path.absolute(), *path.absolute().parents[:3]]
  file = next((f for folder in folders if (f := folder / _META).is_file()), None)
  if file is None:
    return {}
  with naming(file):
    found = {}
    for entry in read_json(file)["classes"]:
      config = entry.get("geometry_config") or {}
      nodes = {
        k: str(node.get("label", k)) for k, node in config.get("nodes", {}).items()
      }
      ends = [(edge.get("src"), edge.get("dst")) for edge in config.get("edges") or ()]
      pairs = [(nodes[a], nodes[b]) for a, b in ends if a in nodes and b in nodes]
      if nodes:
        found[entry["title"]] = nodes, tuple(pairs)
    return found


def _read_file(
  path: pathlib.Path,
  root: pathlib.Path,
  graphs: Mapping[str, Graph],
  others: dict[str, int],
) -> LabelledImage:
  content = read_json(path)
  with naming(path):
    marks = []
    for place, entry in enumerate(content["objects"]):
      kind = entry.get("geometryType") or entry.get("type")
      label = entry.get("classTitle")
      if not isinstance(label, str):
        raise ValueError(f"{path}: the class of an object is {shown(label)}")
      if kind == "graph":
        marks += _nodes(entry, label, f"graph {place}", graphs, path)
      elif kind in ("point", "rectangle"):
        marks.append(_mark(entry, label, kind, path))
      else:
        others[shown(kind)] = others.get(shown(kind), 0) + 1
    size = parsing.size_of(content["size"]["width"], content["size"]["height"])
    whole = path.absolute().parent
    folder = whole.parent if whole.name == _ANNOTATIONS else whole
    is_below = folder.is_relative_to(root.absolute())
    parts = folder.relative_to(root.absolute()).parts if is_below else ()
    inner = (_IMAGES,) if whole.name == _ANNOTATIONS else ()
    name = "/".join((*parts, *inner, path.name.removesuffix(".json")))
    return LabelledImage(name, size, assemble(marks, str(path), "graph"))


def _nodes(
  entry: Mapping[str, Any],
  label: str,
  group: str,
  graphs: Mapping[str, Graph],
  path: pathlib.Path,
) -> list[Mark]:
  names_of = graphs.get(label, ({}, ()))[0]
  marks = [Mark("", group, species=label)]
  for number, node in entry["nodes"].items():
    if node.get("disabled"):
      continue  # a node that is not in the picture
    if number not in names_of:
      raise ValueError(
        f"{path}: the node {shown(number)} of {shown(label)} has no name; expected "
        f"{_META} of the project beside the data sets"
      )
    where = f"{path}: a coordinate of {names_of[number]!r}"
    x, y = (parsing.number(value, where) for value in node["loc"])
    marks.append(Mark(names_of[number], group, Keypoint(x, y)))
  return marks


def _mark(entry: Mapping[str, Any], label: str, kind: str, path: pathlib.Path) -> Mark:
  where = f"{path}: a coordinate of {label!r}"
  points = [[parsing.number(v, where) for v in p] for p in entry["points"]["exterior"]]
  group = parsing.identity(entry.get("instance"))
  if kind == "point":
    ((x, y),) = points
    return Mark(label, group, Keypoint(x, y))
  (x0, x1), (y0, y1) = (sorted(axis) for axis in zip(*points, strict=True))
  return Mark(label, group, box=(x0, y0, x1 - x0 + 1, y1 - y0 + 1))
