"""Reads tables with a row for each keypoint: its image, its name, x and y.

Columns may be in any order; others may tell the objects of an image apart, or hold the
confidence or the visibility. Tables of makesense.ai have no header. A row whose x and y
are blank or NaN is a missing keypoint.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from fskd_jax.data import images
from fskd_jax.data.labels import csv_rows, row_names, tables, wide_header
from fskd_jax.data.labels.parsing import size_of, whole_number
from fskd_jax.data.labels.schema import Labels
from fskd_jax.messages import shown

_NAMES = (
  "keypoint", "keypoint_name", "bodypart", "landmark", "joint", "node", "part", "point",
  "label", "name",
)  # fmt: skip
_OBJECTS = (
  "object", "object_id", "individual", "individual_id", "instance", "instance_id",
  "animal", "animal_id", "track", "track_id",
)  # fmt: skip
_SIDES = ("width", "height")
_MAKESENSE = ("label", "x", "y", "image", "width", "height")


def is_one(path: pathlib.Path) -> bool:
  """Whether a table has columns x and y, and none such as nose_x."""
  if path.suffix.lower() not in (".csv", ".tsv"):
    return False
  header, _ = _split(path)
  return {"x", "y"} <= {*header} and not any(
    axis for _, axis in wide_header.columns(header)
  )


def read(path: pathlib.Path) -> Labels:
  """Reads a table.

  Raises:
    ValueError: No column names the keypoints or their images, an object has a keypoint
      twice, or as `tables.to_labels`.
  """
  header, rows = _split(path)
  places = {column: i for i, column in reversed([*enumerate(header)])}
  name = tables.first_of(
    places, [n for n in _NAMES if n in places and not _are_files(rows, places, n)]
  )
  if name is None:
    raise ValueError(
      f"{path}: no column tells which keypoint a row is, expected one called "
      f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}; found {shown([*header])}"
    )
  apart = tables.first_of(places, _OBJECTS)
  confidence, visible = (
    tables.first_of(places, names) for names in (tables.SCORES, tables.VISIBLE)
  )
  columns: tables.Places = (places["x"], places["y"], confidence, visible)
  others = [i for i in range(len(header)) if i not in {name, apart, *columns}]
  objects: dict[tuple[str | int, str], dict[str, list[float]]] = {}
  sizes = []
  for row in rows:
    row = [*row, *[""] * (len(header) - len(row))]
    image = row_names.find(row, header, others, path)
    key = (image, row[apart].strip() if apart is not None else "")
    if key not in objects:
      sizes.append(size_of(*(row[places[s]] if s in places else None for s in _SIDES)))
    points, label = objects.setdefault(key, {}), row[name].strip()
    if not label:
      raise ValueError(f"{path}: {shown(image)} has a row without the keypoint's name")
    if label in points:
      raise ValueError(
        f"{path}: {shown(image)} has the keypoint {shown(label)} twice; where these "
        "are two objects, a column called object tells them apart"
      )
    (points[label],) = tables.points_in_row(row, {("", label): columns}, path)
  names = [*dict.fromkeys(label for points in objects.values() for label in points)]
  values = np.full((len(objects), len(names), 4), np.nan)
  for row, points in enumerate(objects.values()):
    for label, point in points.items():
      values[row, names.index(label)] = point
  if not (values[..., 3] > tables.OCCLUDED).any():  # yes or no
    values[..., 3] = np.where(values[..., 3] == 1, tables.SEEN, values[..., 3])
  named = [("", label) for label in names]
  return tables.to_labels(
    tables.Table(named, [image for image, _ in objects], values, True, sizes), path
  )


def _are_files(
  rows: Sequence[Sequence[str]], places: dict[str, int], column: str
) -> bool:
  """Whether a column names files, as ImageJ's Label does."""
  cells = [row[places[column]] for row in rows if len(row) > places[column]]
  return all(images.has_suffix(cell.strip()) for cell in cells)


def _split(path: pathlib.Path) -> tuple[Sequence[str], list[list[str]]]:
  """Returns the names of the columns in lower case, and the rows below them."""
  rows = csv_rows.read(path)
  first = rows[0] if rows else []
  if len(first) == 6 and all(whole_number(first[i]) is not None for i in (4, 5)):
    return _MAKESENSE, rows
  return [cell.strip().lower() for cell in first], rows[1:]
