"""Reads and writes labels of DeepLabCut and lightning-pose.

The header has the rows scorer, (individuals,) bodyparts and coords. The index of a row
is labeled-data, folder, file name (joined in one cell by lightning-pose and older
DeepLabCut), or the number of a frame of an analysed video. Coordinates count from the
centre of the first pixel: they are placed in napari or matplotlib, which draw pixel
(0, 0) around the origin.
"""

import csv
import pathlib
from collections.abc import Sequence

import h5py
import numpy as np
from jaxtyping import Float64

from fskd_jax.data.labels import image_places, pandas_h5, row_names, tables
from fskd_jax.data.labels.schema import Labels

_KEY = "df_with_missing"  # the name that DeepLabCut gives its tables


def read_h5(path: pathlib.Path) -> Labels:
  """Reads a table that pandas wrote.

  Raises:
    ValueError: As `read_table` and `tables.to_labels`.
  """
  return tables.to_labels(read_table(path), path)


def read_table(path: pathlib.Path) -> tables.Table:
  """Reads the table of an H5 file of pandas.

  Raises:
    ValueError: The table is of another kind, or holds Python objects.
  """
  frame = pandas_h5.read(path)
  levels = [name.lower() for name in frame.column_levels]
  if not {"bodyparts", "coords"} <= {*levels}:
    raise ValueError(
      f"{path}: its columns have the levels {frame.column_levels}, expected scorer, "
      "bodyparts, coords"
    )
  wanted = [
    levels.index(name) if name in levels else None
    for name in ("individuals", "bodyparts", "coords")
  ]
  triples = [
    tuple("" if place is None else column[place] for place in wanted)
    for column in frame.columns
  ]
  places = tables.place_columns(triples, path)  # pyright: ignore[reportArgumentType]
  rows = [row_names.of_index(cells) for cells in frame.index]
  points = tables.gather_points(frame.values, places.values())
  return tables.Table([*places], image_places.beside(rows, path), points)


def write_csv(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the CSV file that DeepLabCut writes beside its H5 file."""
  write_table_csv(tables.from_labels(labels), unfinished, out)


def write_table_csv(
  table: tables.Table, unfinished: pathlib.Path, out: pathlib.Path
) -> None:
  """Writes a table whose rows have file names, as `write_csv` does."""
  index = [_index(str(name), out) for name in table.rows]
  _write_csv(table, _axes(table), index, unfinished, out)


def write_lightning_pose(
  labels: Labels, unfinished: pathlib.Path, out: pathlib.Path
) -> None:
  """Writes the CSV file that lightning-pose trains on.

  Raises:
    ValueError: An image has several objects, which lightning-pose does not support.
  """
  for image in labels.images:
    if len(image.objects) > 1:
      raise ValueError(
        f"{image.name} has {len(image.objects)} objects, but lightning-pose knows one "
        "for each image"
      )
  table = tables.from_labels(labels)
  marked = (table.points[..., 3] == tables.OCCLUDED).any()
  axes = ("x", "y", "visible") if marked else ("x", "y")
  index = [("/".join(_index(str(name), out)),) for name in table.rows]
  _write_csv(table, axes, index, unfinished, out)


def write_h5(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the H5 file that DeepLabCut trains on."""
  write_table_h5(tables.from_labels(labels), unfinished, out)


def write_table_h5(
  table: tables.Table, unfinished: pathlib.Path, out: pathlib.Path
) -> None:
  """Writes a table whose rows have file names, as `write_h5` does."""
  axes = _axes(table)
  levels, columns = _header(table, axes, out)
  values = _values(table, axes)
  index = [_index(str(name), out) for name in table.rows]
  with h5py.File(unfinished, "w") as file:
    pandas_h5.write(file, _KEY, pandas_h5.Frame(levels, columns, index, values))


def _write_csv(
  table: tables.Table,
  axes: Sequence[str],
  index: Sequence[Sequence[str]],
  unfinished: pathlib.Path,
  out: pathlib.Path,
) -> None:
  levels, columns = _header(table, axes, out)
  blanks = [""] * (len(index[0]) - 1 if index else 0)
  with unfinished.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    for name, cells in zip(levels, zip(*columns)):
      writer.writerow([name, *blanks, *cells])
    for cells, values in zip(index, _values(table, axes).tolist()):
      writer.writerow([*cells, *("" if np.isnan(v) else v for v in values)])


def _header(
  table: tables.Table, axes: Sequence[str], out: pathlib.Path
) -> tuple[list[str], list[tuple[str, ...]]]:
  """Returns the names of the levels, and the levels of every column.

  DeepLabCut finds a file by its scorer: CollectedData_NAME has the scorer NAME.
  """
  scorer = out.stem.removeprefix("CollectedData_")
  has_individuals = any(individual for individual, _ in table.columns)
  columns = [
    (scorer, *([individual] if has_individuals else []), name, axis)
    for individual, name in table.columns
    for axis in axes
  ]
  middle = ["individuals"] if has_individuals else []
  return ["scorer", *middle, "bodyparts", "coords"], columns


def _axes(table: tables.Table) -> tuple[str, ...]:
  """Returns x, y and, if a machine placed any keypoint, likelihood."""
  by_machine = np.isfinite(table.points[..., 2]).any()
  return ("x", "y", "likelihood") if by_machine else ("x", "y")


def _values(table: tables.Table, axes: Sequence[str]) -> Float64[np.ndarray, "r v"]:
  places = [("x", "y", "likelihood", "visible").index(axis) for axis in axes]
  return table.points[..., places].reshape(len(table.rows), -1)


def _index(name: str, out: pathlib.Path) -> Sequence[str]:
  """Returns labeled-data, folder, file; the folder is that of `out` if it has none."""
  *folders, file = name.removeprefix("labeled-data/").split("/")
  return "labeled-data", "/".join(folders) or out.absolute().parent.name, file
