"""Reads and writes tables of keypoints: a row per image, columns for x and y.

The tables of DeepLabCut, lightning-pose, SLEAP (CSV) and `fskd predict` differ only in
their headers. A missing keypoint is a blank or NaN. The third column of a keypoint is
the confidence of a machine. Tables cannot hold boxes, species and occlusion.
"""

import csv
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from fskd_jax.data.labels.parsing import plain_float, size_of, whole_number
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  keypoint_names,
)
from fskd_jax.messages import raise_if, shown

SCORES = ("likelihood", "confidence", "score")
"""Names of the third column of a keypoint."""

UNIQUE = "single"
"""DeepLabCut's individual for body parts that belong to no animal."""


class Table(NamedTuple):
  """A table.

  Attributes:
    columns: (individual, keypoint); the individual is "" in tables with only one.
    rows: The file name, or the number of the frame, of each row.
    points: x and y in pixels, and confidence; NaN where missing.
    object_per_row: Whether rows of the same image are different objects, rather than
      a mistake.
    sizes: (width, height) of the rows' images; None if the table has none.
  """

  columns: list[tuple[str, str]]
  rows: list[str | int]
  points: Float64[np.ndarray, "r c 3"]
  object_per_row: bool = False
  sizes: Sequence[tuple[int, int] | None] | None = None


def read_csv(path: pathlib.Path) -> Labels:
  """Reads a table of DeepLabCut, lightning-pose, SLEAP or `fskd predict`.

  Raises:
    ValueError: The header is of another kind, or a cell is not a number.
  """
  try:
    with path.open(newline="", encoding="utf-8-sig") as file:
      rows = [row for row in csv.reader(file) if any(row)]
  except (csv.Error, UnicodeDecodeError) as error:
    raise ValueError(f"{path}: not a CSV file: {error}") from error
  header = {row[0].strip().lower(): row for row in rows[:4] if row}
  if "bodyparts" in header and "coords" in header:  # DeepLabCut, lightning-pose
    individuals = header.get("individuals", [""] * len(header["bodyparts"]))
    triples = list(zip(individuals, header["bodyparts"], header["coords"]))
    first = rows.index(header["coords"]) + 1
  else:  # SLEAP and `fskd predict`: one row of nose.x, nose.y, ..
    pairs = [cell.rpartition(".") for cell in rows[0]] if rows else []
    triples = [("", name, axis if dot else "") for name, dot, axis in pairs]
    first = 1
  places = place_columns(triples, path)
  left = min(place for x, y, _ in places.values() for place in (x, y))
  points = [_points(row, places, path) for row in rows[first:]]
  in_dlc = first > 1
  keys = [
    row_key(row[:left]) if in_dlc else _key_by_name(row[:left], rows[0])
    for row in rows[first:]
  ]
  sizes = None if in_dlc else [_size_by_name(row[:left], rows[0]) for row in rows[1:]]
  shape = (len(keys), len(places), 3)
  table = Table([*places], keys, np.array(points).reshape(shape), not in_dlc, sizes)
  return to_labels(table, path)


def place_columns(
  columns: Sequence[tuple[str, str, str]], path: pathlib.Path
) -> dict[tuple[str, str], tuple[int, int, int | None]]:
  """Returns the columns of x, y and, if there is one, the confidence of each keypoint.

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
    if axis in ("x", "y", *SCORES):
      axes = places.setdefault((individual, name), {})
      if axis in axes:
        raise ValueError(f"{path}: the column {name}, {axis} occurs twice")
      axes[axis] = place
  whole = {
    key: (axes["x"], axes["y"], next((axes[s] for s in SCORES if s in axes), None))
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


def gather_points(
  values: Float64[np.ndarray, "r v"],
  places: Iterable[tuple[int, int, int | None]],
) -> Float64[np.ndarray, "r c 3"]:
  """Returns the values of each keypoint; confidence is NaN if there is no column."""
  padded = np.column_stack([values, np.full(len(values), np.nan)])
  order = [(x, y, -1 if score is None else score) for x, y, score in places]
  return padded[:, np.array(order, int)]


def row_key(cells: Sequence[str]) -> str | int:
  """Returns the key of an index: the joined path, or a lone number as a frame."""
  joined = "/".join(cell.replace("\\", "/") for cell in cells if cell.strip())
  number = whole_number(joined)
  return joined if number is None else number


def frame_number(name: str) -> int | None:
  """Returns the last number in the name of a file, without its suffix."""
  numbers = re.findall(r"[0-9]+", pathlib.PurePosixPath(name).stem)
  return whole_number(numbers[-1]) if numbers else None


def _key_by_name(cells: Sequence[str], header: Sequence[str]) -> str | int:
  """Returns the frame, or else the file name, of a row below a header of one row."""
  named = {name.strip().lower(): cell for name, cell in zip(header, cells)}
  number = whole_number(named.get("frame", ""))
  if named.get("image") and number is not None:
    return frame_name(named["image"], number)
  for name in ("frame_idx", "frame"):
    if named.get(name, "").strip():
      return row_key([named[name]])
  if "image" in named:
    return row_key([named["image"]])
  texts = [cell for cell in cells if cell.strip()]
  files = [text for text in texts if re.search(r"\.[a-z]\w*$", text, re.IGNORECASE)]
  numbers = [text for text in texts if whole_number(text) is not None]
  return row_key((files or numbers or texts or [""])[-1:])


def frame_name(video: str, frame: int) -> str:
  """Returns the file name of a frame among the labels of several videos.

  The command `ffmpeg -i VIDEO -start_number 0 VIDEO/%06d.png` writes such files.
  """
  return f"{video}/{frame:06d}.png"


def _size_by_name(
  cells: Sequence[str], header: Sequence[str]
) -> tuple[int, int] | None:
  named = {name.strip().lower(): cell.strip() for name, cell in zip(header, cells)}
  return size_of(named.get("width"), named.get("height"))


def _points(
  row: Sequence[str],
  places: dict[tuple[str, str], tuple[int, int, int | None]],
  path: pathlib.Path,
) -> list[list[float]]:
  found = []
  for (_, name), trio in places.items():
    cells = [row[p].strip() if p is not None and p < len(row) else "" for p in trio]
    try:
      found.append([plain_float(cell or "nan") for cell in cells])
    except ValueError as error:
      told = [cell for cell, place in zip(cells, trio) if place is not None]
      raise ValueError(
        f"{path}: {name!r} is {shown(told)}, expected numbers"
      ) from error
  return found


def to_labels(table: Table, path: pathlib.Path) -> Labels:
  """Makes labels of a table; `path` is its name in messages.

  Raises:
    ValueError: Two rows have the same image, or a number is infinite.
  """
  if np.isinf(table.points).any():
    raise ValueError(
      f"{path}: holds an infinite coordinate, expected numbers or blanks"
    )
  categories: dict[str, dict[str, None]] = {}
  columns: dict[str, list[int]] = {}
  several = len({individual for individual, _ in table.columns}) > 1
  for place, (individual, name) in enumerate(table.columns):
    species = UNIQUE if several and individual == UNIQUE else ""
    categories.setdefault(species, {})[name] = None
    columns.setdefault(individual, []).append(place)
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
        if not np.isnan(points[i, :2]).any()
      }
      species = UNIQUE if several and individual == UNIQUE else ""
      if keypoints:
        found.append(LabelledObject(keypoints, species))
  return Labels(
    tuple(
      LabelledImage(key, sizes.get(key), tuple(found)) for key, found in objects.items()
    ),
    {species: Category(tuple(names)) for species, names in categories.items()},
  )


def keypoint(x: float, y: float, confidence: float) -> Keypoint:
  """Returns a keypoint; a confidence of NaN becomes None."""
  return Keypoint(x, y, confidence=None if np.isnan(confidence) else confidence)


def from_labels(labels: Labels) -> Table:
  """Makes a table of labels; individuals are numbered by their order in the image."""
  names = keypoint_names(labels)
  count = max([len(image.objects) for image in labels.images], default=1) or 1
  individuals = [f"individual{i + 1}" for i in range(count)] if count > 1 else [""]
  points = np.full((len(labels.images), count, len(names), 3), np.nan)
  place = {name: i for i, name in enumerate(names)}
  for row, image in enumerate(labels.images):
    for number, found in enumerate(image.objects):
      for name, point in found.keypoints.items():
        sure = np.nan if point.confidence is None else point.confidence
        points[row, number, place[name]] = point.x, point.y, sure
  columns = [(individual, name) for individual in individuals for name in names]
  rows = [image.name for image in labels.images]
  return Table(columns, rows, points.reshape(len(rows), len(columns), 3))
