"""Reads data frames in the "table" format of pandas, with h5py and no unpickling.

In this format the rows of a frame are the records of one data set: the index, and one
array for each type of column. The names of the columns are pickled lists of texts
(`plain_pickle`). DeepLabCut stored labels so until about version 2.2, and stores the
results of `analyze_videos` so.
"""

from typing import Any

import h5py
import numpy as np

from fskd_jax.data.labels import h5, plain_pickle
from fskd_jax.data.labels.pandas_frame import Frame

_INDEX = "index"


def read(group: h5py.Group) -> Frame:
  """Reads a frame; `group` has the attribute pandas_type "frame_table".

  Raises:
    ValueError: The index has several levels, a column is not numeric, or the group is
      damaged.
  """
  data = h5.dataset(group, "table")
  if data.ndim != 1 or data.dtype.names is None or _INDEX not in data.dtype.names:
    raise ValueError(f"table has the type {data.dtype}, expected rows with an index")
  columns = _columns(_attribute(group, "non_index_axes"))
  if len(data) > h5.MOST_ROWS:
    raise ValueError(f"table declares {len(data)} rows, expected {h5.MOST_ROWS}")
  h5.check_size((len(data), max(len(columns), data.dtype.itemsize // 8)), "table")
  rows = data[()]
  values = np.full((len(rows), len(columns)), np.nan)
  place = {column: i for i, column in enumerate(columns)}
  blocks = [str(name) for name in _attribute(group, "values_cols")]
  for block in blocks:
    items = _texts(_attribute(data, f"{block}_kind"))
    numbers = rows[block].reshape(len(rows), -1)
    if numbers.dtype.kind not in "fiub" or numbers.shape[1] != len(items):
      raise ValueError(
        f"{block} has the type {numbers.dtype} and {numbers.shape[1]} columns, "
        f"expected numbers in {len(items)}"
      )
    values[:, [place[item] for item in items]] = numbers
  index = [(h5.text(value),) for value in rows[_INDEX].tolist()]
  return Frame(_levels(group), columns, index, values)


def _attribute(node: Any, name: str) -> Any:
  return plain_pickle.parse(bytes(node.attrs[name]))


def _columns(axes: Any) -> list[tuple[str, ...]]:
  """Returns the columns of the only axis that is not the index: [(1, columns)]."""
  ((_, columns),) = axes
  return _texts(columns)


def _texts(columns: Any) -> list[tuple[str, ...]]:
  if not isinstance(columns, list) or not all(
    isinstance(cell, str)
    for column in columns
    for cell in (column if isinstance(column, tuple) else (column,))
  ):
    raise ValueError("columns whose names are not texts")
  return [column if isinstance(column, tuple) else (column,) for column in columns]


def _levels(group: h5py.Group) -> list[str]:
  """Returns the names of the levels of the columns; one "" if there is one level."""
  told = _attribute(group, "info").get(1, {})
  names = told.get("names", [""])
  return [name if isinstance(name, str) else "" for name in names]
