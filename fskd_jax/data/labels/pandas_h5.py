"""Reads and writes the data frames of H5 files of pandas, with h5py alone.

In the format "fixed" a frame is a group of plain arrays: axis0 holds the columns and
axis1 the rows, each as levels and indices into them, and the values are in blocks.
`pandas_table` reads the other format. Pandas itself would unpickle what it finds.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from fskd_jax.data.labels import h5, pandas_table
from fskd_jax.data.labels.pandas_frame import Frame


def groups(file: Any) -> list[str]:
  """Returns the names of the frames in a file."""
  return [
    name
    for name in file
    if isinstance(found := h5.node(file, name), h5py.Group)
    and "pandas_type" in found.attrs
  ]


def read(path: pathlib.Path) -> Frame:
  """Reads the only frame of a file.

  Raises:
    ValueError: There is no frame or several, or it holds Python objects or is
      damaged.
  """
  with h5.open_h5(path) as file:
    names = groups(file)
    if len(names) != 1:
      raise ValueError(f"holds {len(names)} tables of pandas, expected one")
    group = h5.node(file, names[0])
    kind = h5.text(group.attrs["pandas_type"])
    if kind == "frame_table":
      return pandas_table.read(group)
    if kind != "frame":
      raise _pickled(f"of the kind {kind!r}")
    levels, columns = _axis(group, "axis0")
    _, index = _axis(group, "axis1")
    h5.check_size((len(index), len(columns)), "its table")
    values = np.full((len(index), len(columns)), np.nan)
    place = {column: i for i, column in enumerate(columns)}
    for block in range(int(group.attrs["nblocks"])):
      _, items = _axis(group, f"block{block}_items")
      shape = len(index), len(items)
      values[:, [place[item] for item in items]] = _values(group, block, shape)
  return Frame(levels, columns, index, values)


def _values(group: h5py.Group, block: int, shape: tuple[int, int]) -> np.ndarray:
  """Returns the values of a block, whose shape is that of the axes."""
  name = f"block{block}_values"
  data = _plain(group, name)
  transposed = data.attrs.get("transposed", 0)
  if data.shape != (shape if transposed else shape[::-1]):
    raise ValueError(f"{name!r} has the shape {data.shape}, but its axes are {shape}")
  return data[()] if transposed else data[()].T


def _pickled(what: str) -> ValueError:
  return ValueError(
    f"a table of pandas {what}, which holds pickles and is not read; use the "
    "CSV file beside it (DeepLabCut: save_as_csv=True), or store it with pandas as "
    'frame.astype(float).to_hdf(path, key="df_with_missing")'
  )


def _axis(group: Any, name: str) -> tuple[list[str], list[tuple[str, ...]]]:
  """Returns the names of the levels of an axis, and the texts of every position."""
  if h5.text(group.attrs[f"{name}_variety"]) != "multi":
    return [""], [(value,) for value in _texts(group, name)]
  texts, names = [], []
  for level in range(int(group.attrs[f"{name}_nlevels"])):
    known = _texts(group, f"{name}_level{level}")
    numbers = h5.cells(group, f"{name}_label{level}")
    title = h5.dataset(group, f"{name}_level{level}").attrs.get("name", b"")
    names.append(h5.text(title))
    texts.append([known[number] if number >= 0 else "" for number in numbers])
  return names, list(zip(*texts, strict=True))


def _texts(group: h5py.Group, name: str) -> list[str]:
  _plain(group, name)
  return [h5.text(value) for value in h5.cells(group, name)]


def _plain(group: h5py.Group, name: str) -> Any:
  data = h5.dataset(group, name)
  if data.dtype == object:
    raise _pickled("with Python objects in it")
  return data


def write(file: h5py.File, key: str, frame: Frame) -> None:
  """Writes a frame so that pandas.read_hdf reads it."""
  file.attrs["PYTABLES_FORMAT_VERSION"] = np.bytes_("2.1")
  group = file.create_group(key)
  for node in (file, group):
    _set(node, CLASS="GROUP", TITLE="", VERSION="1.0")
  _set(group, encoding="UTF-8", errors="strict", pandas_type="frame")
  group.attrs["nblocks"], group.attrs["ndim"] = 1, 2
  for name in ("axis0", "block0_items"):
    _write_axis(group, name, frame.columns, frame.column_levels)
  _write_axis(group, "axis1", frame.index, [""] * len(frame.index[0]))
  _write_array(group, "block0_values", frame.values)


def _write_axis(
  group: Any, name: str, places: Sequence[Sequence[str]], levels: Sequence[str]
) -> None:
  _set(group, **{f"{name}_variety": "multi"})
  group.attrs[f"{name}_nlevels"] = len(levels)
  for level, (level_name, texts) in enumerate(zip(levels, zip(*places))):
    known = list(dict.fromkeys(texts))
    number = {text: i for i, text in enumerate(known)}
    encoded = np.array([text.encode("utf-8") for text in known])
    data = _write_array(group, f"{name}_level{level}", encoded)
    _set(data, kind="string", nan_rep="nan")
    if level_name:
      _set(data, name=level_name)
    numbers = np.array([number[text] for text in texts], np.int32)
    _write_array(group, f"{name}_label{level}", numbers)


def _write_array(group: Any, name: str, values: np.ndarray) -> h5py.Dataset:
  data = group.create_dataset(name, data=values)
  _set(data, CLASS="ARRAY", FLAVOR="numpy", TITLE="", VERSION="2.4")
  data.attrs["transposed"] = np.uint8(1)
  return data


def _set(node: Any, **texts: str) -> None:
  for key, text in texts.items():
    data = text.encode("utf-8")  # declared with a fixed length, or pandas reads bytes
    dtype = h5py.string_dtype("utf-8", max(len(data), 1))
    node.attrs.create(key, np.array(data, dtype=dtype), dtype=dtype)
