"""Reads and writes tables of keypoints: a row per image, columns for x and y.

The tables of DeepLabCut, lightning-pose, SLEAP (CSV) and `fskd predict` differ only in
their headers. A missing keypoint is a blank or NaN. Further columns of a keypoint are
the confidence of a machine, and whether it is visible: 0 not labelled, 1 occluded, 2
visible (lightning-pose). Tables cannot hold boxes and species.
"""

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from fskd_jax.data.labels import (
  csv_rows,
  image_places,
  individuals,
  row_names,
  wide_header,
)
from fskd_jax.data.labels.parsing import plain_float, size_of
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  keypoint_names,
)
from fskd_jax.messages import naming, raise_if, shown

SCORES = ("likelihood", "confidence", "score")
"""Names of the column of a keypoint's confidence."""

VISIBLE = ("visible", "visibility")
"""Names of the column of a keypoint's visibility."""

Places = tuple[int, int, int | None, int | None]
"""Columns of x, y, confidence and visibility; None for those that a table lacks."""

MISSING, OCCLUDED, SEEN = 0, 1, 2
"""Values of the column of visibility."""


class Table(NamedTuple):
  """A table.

  Attributes:
    columns: (individual, keypoint); the individual is "" in tables with only one.
    rows: The file name, or the number of the frame, of each row.
    points: x and y in pixels, confidence, and visibility; NaN where missing.
    object_per_row: Whether rows of the same image are different objects, rather than
      a mistake.
    sizes: (width, height) of the rows' images; None if the table has none.
  """

  columns: list[tuple[str, str]]
  rows: list[str | int]
  points: Float64[np.ndarray, "r c 4"]
  object_per_row: bool = False
  sizes: Sequence[tuple[int, int] | None] | None = None


def read_csv(path: pathlib.Path) -> Labels:
  """Reads a table of DeepLabCut, lightning-pose, SLEAP or `fskd predict`.

  Raises:
    ValueError: As `read_table` and `to_labels`.
  """
  return to_labels(read_table(path), path)


def read_table(path: pathlib.Path) -> Table:
  """Reads the table of a CSV file.

  Raises:
    ValueError: The header is of another kind, or a cell is not a number.
  """
  rows = csv_rows.read(path)
  header = {row[0].strip().lower(): row for row in rows[:4] if row}
  if "bodyparts" in header and "coords" in header:  # DeepLabCut, lightning-pose
    animals = header.get("individuals", [""] * len(header["bodyparts"]))
    triples = list(zip(animals, header["bodyparts"], header["coords"]))
    first = rows.index(header["coords"]) + 1
  else:  # one row of nose.x, nose.y, ..
    with naming(path):
      pairs = wide_header.columns(rows[0]) if rows else []
    triples = [("", name, axis) for name, axis in pairs]
    first = 1
  places = place_columns(triples, path)
  left = min(place for x, y, *_ in places.values() for place in (x, y))
  in_dlc = first > 1
  if in_dlc and len(rows) > first and _names_the_index(rows[first], left):
    first += 1
  points = [points_in_row(row, places, path) for row in rows[first:]]
  if in_dlc:
    keys = [row_names.of_index(row[:left]) for row in rows[first:]]
  else:
    used = {i for columns in places.values() for i in columns}
    others = sorted({*range(len(rows[0]))} - used, key=lambda i: (i > left, i))
    keys = [row_names.find(row, rows[0], others, path) for row in rows[first:]]
  sizes = None if in_dlc else [_size_by_name(row[:left], rows[0]) for row in rows[1:]]
  shape = (len(keys), len(places), 4)
  if in_dlc:
    keys = image_places.beside(keys, path)
  return Table([*places], keys, np.array(points).reshape(shape), not in_dlc, sizes)


def _names_the_index(row: Sequence[str], left: int) -> bool:
  """Returns whether a row has names of index levels, as pandas writes below columns."""
  named = not any(cell.strip() for cell in row[left:])
  key = row_names.of_index(row[:left])
  return named and isinstance(key, str) and "." not in key


def place_columns(
  columns: Sequence[tuple[str, str, str]], path: pathlib.Path
) -> dict[tuple[str, str], Places]:
  """Returns the columns of each keypoint.

  Args:
    columns: (individual, keypoint, coordinate) of every column; others are skipped.
    path: The name of the table in messages.

  Returns:
    Column numbers by (individual, keypoint).

  Raises:
    ValueError: No keypoint has both x and y, or a column occurs twice.
  """
  places: dict[tuple[str, str], dict[str, int]] = {}
  for place, cells in enumerate(columns):
    individual, name, axis = cells[0], cells[1], cells[2].strip().lower()
    if axis in ("x", "y", *SCORES, *VISIBLE):
      axes = places.setdefault((individual, name), {})
      if axis in axes:
        raise ValueError(f"{path}: the column {name}, {axis} occurs twice")
      axes[axis] = place
  whole: dict[tuple[str, str], Places] = {
    key: (axes["x"], axes["y"], first_of(axes, SCORES), first_of(axes, VISIBLE))
    for key, axes in places.items()
    if {"x", "y"} <= axes.keys()
  }
  if whole:
    half = [n for (_, n), axes in places.items() if ("x" in axes) != ("y" in axes)]
    raise_if(
      [*map(shown, half)], ValueError, f"{path}: columns x or y without the other"
    )
  else:
    raise ValueError(
      f"{path}: expected a table of DeepLabCut (rows bodyparts, coords), or with "
      "columns like nose.x, nose.y"
    )
  return whole


def first_of(places: Mapping[str, int], names: Sequence[str]) -> int | None:
  """Returns the column of the first of these names that there is; None without any."""
  return next((places[name] for name in names if name in places), None)


def gather_points(
  values: Float64[np.ndarray, "r v"], places: Iterable[Places]
) -> Float64[np.ndarray, "r c 4"]:
  """Returns the values of each keypoint; NaN where there is no column."""
  padded = np.column_stack([values, np.full(len(values), np.nan)])
  order = [[-1 if place is None else place for place in columns] for columns in places]
  return padded[:, np.array(order, int)]


def _size_by_name(
  cells: Sequence[str], header: Sequence[str]
) -> tuple[int, int] | None:
  named = {name.strip().lower(): cell.strip() for name, cell in zip(header, cells)}
  return size_of(named.get("width"), named.get("height"))


def points_in_row(
  row: Sequence[str],
  places: dict[tuple[str, str], Places],
  path: pathlib.Path,
) -> list[list[float]]:
  """Returns x, y, confidence and visibility of each keypoint; NaN where missing.

  Raises:
    ValueError: A cell is not a number.
  """
  found = []
  for (_, name), columns in places.items():
    cells = [row[p].strip() if p is not None and p < len(row) else "" for p in columns]
    try:
      found.append([plain_float(cell or "nan") for cell in cells])
    except ValueError as error:
      told = [cell for cell, place in zip(cells, columns) if place is not None]
      raise ValueError(
        f"{path}: {name!r} is {shown(told)}, expected numbers"
      ) from error
  return found


def to_labels(
  table: Table, path: pathlib.Path, species: individuals.Species | None = None
) -> Labels:
  """Makes labels of a table.

  Args:
    table: The table.
    path: Its name in messages.
    species: The species of its individuals; by their body parts if it is not given.

  Raises:
    ValueError: Two rows have the same image, a number is infinite, or a visibility is
      none of 0, 1 and 2.
  """
  seen = table.points[..., 3]
  strange = seen[~np.isnan(seen) & ~np.isin(seen, (MISSING, OCCLUDED, SEEN))]
  if strange.size:
    raise ValueError(
      f"{path}: a keypoint has the visibility {strange[0]:g}, expected 0 (not "
      "labelled), 1 (occluded) or 2 (visible)"
    )
  if np.isinf(table.points).any():
    raise ValueError(
      f"{path}: holds an infinite coordinate, expected numbers or blanks"
    )
  columns: dict[str, list[int]] = {}
  for place, (individual, _) in enumerate(table.columns):
    columns.setdefault(individual, []).append(place)
  species = species or individuals.species_of(*parts_of([table]))
  objects: dict[str | int, list[LabelledObject]] = {}
  sizes = dict(zip(table.rows, table.sizes or ()))
  for key, points in zip(table.rows, table.points):
    if key in objects and not table.object_per_row:
      raise ValueError(f"{path}: two rows are of the same image {key!r}")
    found = objects.setdefault(key, [])
    for individual, numbers in columns.items():
      keypoints = {
        table.columns[i][1]: keypoint(*points[i].tolist())
        for i in numbers
        if not np.isnan(points[i, :2]).any() and points[i, 3] != MISSING
      }
      if keypoints:
        found.append(LabelledObject(keypoints, species.of[individual]))
  return Labels(
    tuple(
      LabelledImage(key, sizes.get(key), tuple(found)) for key, found in objects.items()
    ),
    {name: Category(parts) for name, parts in species.parts.items()},
  )


def parts_of(
  several: Iterable[Table],
) -> tuple[dict[str, list[str]], dict[str, dict[str, int]]]:
  """Returns the body parts of each individual, in order, and their numbers of labels.

  Those without a label are left out of the numbers.
  """
  parts: dict[str, dict[str, int]] = {}
  for table in several:
    counts = (~np.isnan(table.points[..., :2]).any(-1)).sum(0)
    for (individual, name), count in zip(table.columns, counts.tolist()):
      known = parts.setdefault(individual, {})
      known[name] = known.get(name, 0) + count
  labelled = {
    individual: {name: count for name, count in known.items() if count}
    for individual, known in parts.items()
  }
  return {individual: [*known] for individual, known in parts.items()}, labelled


def keypoint(
  x: float, y: float, confidence: float, visible: float = math.nan
) -> Keypoint:
  """Returns a keypoint; a confidence of NaN becomes None."""
  sure = None if math.isnan(confidence) else confidence
  return Keypoint(x, y, visible == OCCLUDED, sure)


def from_labels(labels: Labels) -> Table:
  """Makes a table of labels; individuals are numbered by their order in the image."""
  names = keypoint_names(labels)
  count = max([len(image.objects) for image in labels.images], default=1) or 1
  individuals = [f"individual{i + 1}" for i in range(count)] if count > 1 else [""]
  points = np.full((len(labels.images), count, len(names), 4), np.nan)
  points[..., 3] = MISSING
  place = {name: i for i, name in enumerate(names)}
  for row, image in enumerate(labels.images):
    for number, found in enumerate(image.objects):
      for name, point in found.keypoints.items():
        sure = np.nan if point.confidence is None else point.confidence
        seen = OCCLUDED if point.occluded else SEEN
        points[row, number, place[name]] = point.x, point.y, sure, seen
  columns = [(individual, name) for individual in individuals for name in names]
  rows = [image.name for image in labels.images]
  return Table(columns, rows, points.reshape(len(rows), len(columns), 4))
