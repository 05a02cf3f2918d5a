"""Reads HDF5 files of labels safely: sizes are checked, and links out are refused.

A file of a few kilobytes may declare data sets of petabytes, made of a fill value when
they are read, and may refer to other files by links and by external storage.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from fskd_jax.messages import naming, shown

MOST_BYTES = 2**30
"""Largest size of the numbers of a table, as float64."""

_MOST_EMPTY = 2**26
"""Largest size in bytes of a data set of which less than a thousandth is stored."""

MOST_ROWS = 2**20
"""Largest number of frames, images or names in a file: 9 hours at 30 frames/s."""


@contextlib.contextmanager
def open_h5(path: pathlib.Path) -> Iterator[h5py.File]:
  """Opens a file for reading.

  Raises:
    ValueError: The file is not HDF5, or content read inside the context is damaged.
  """
  with naming(path):
    try:
      with h5py.File(path, "r") as file:
        yield file
    except (OSError, RuntimeError, LookupError, TypeError) as error:
      raise ValueError(f"not an HDF5 file, or damaged: {error}") from error


def node(group: h5py.Group, name: str) -> Any:
  """Returns a group or data set in a group, or None.

  Raises:
    ValueError: The node is in another file.
  """
  link = group.get(name, getlink=True)
  if link is None:
    return None
  if not isinstance(link, h5py.HardLink):
    raise ValueError(f"{shown(name)} is a link, which is not followed")
  return group[name]


def dataset(group: h5py.Group, name: str) -> Any:
  """Returns a data set in a group without reading its values.

  Raises:
    ValueError: There is no such data set, or its values are in other files.
  """
  found = node(group, name)
  if not isinstance(found, h5py.Dataset):
    raise ValueError(f"has no data set {name!r}")
  if found.external or found.is_virtual:
    raise ValueError(f"{name!r} keeps its values in other files, which are not read")
  return found


def cells(group: h5py.Group, name: str) -> np.ndarray:
  """Returns the texts or numbers of an axis, a level or a list of names.

  Raises:
    ValueError: As for `dataset`, or there are more than `MOST_ROWS` values.
  """
  found = dataset(group, name)
  if found.size is None or found.size > MOST_ROWS or found.nbytes > MOST_BYTES:
    raise ValueError(
      f"{name!r} declares the shape {found.shape}, expected at most {MOST_ROWS} values"
    )
  return found[()]


def texts(group: h5py.Group, name: str) -> np.ndarray:
  """Returns the `cells` of a data set of texts, as str objects of the same shape.

  Raises:
    ValueError: As for `cells`, or the values are not texts.
  """
  dtype = dataset(group, name).dtype
  if dtype.kind not in "SU" and h5py.check_string_dtype(dtype) is None:
    raise ValueError(f"{name!r} has the type {dtype}, expected texts")
  values = cells(group, name)
  return np.array([*map(text, values.ravel())], object).reshape(values.shape)


def check_size(shape: tuple[int, ...], what: str) -> None:
  """Checks the declared size of a table of numbers before memory is allocated.

  Raises:
    ValueError: The table takes more than `MOST_BYTES` as float64.
  """
  if 8 * np.prod(shape, dtype=float) > MOST_BYTES:
    raise ValueError(f"{what} declares the shape {shape}, which is larger than 1 GiB")


def check_file(path: pathlib.Path) -> None:
  """Checks all data sets of a file before another library reads them.

  Raises:
    ValueError: The file is damaged, has values in other files, or a data set declares
      more than 64 MiB and a thousand times of what is stored.
  """
  with open_h5(path) as file:
    _check_group(file, set())


def _check_group(group: Any, seen: set[int]) -> None:
  for name in group:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
      raise ValueError(f"{shown(name)} is a link to another file, which is not read")
    found = None if isinstance(link, h5py.SoftLink) else group[name]
    if isinstance(found, h5py.Dataset):
      data = dataset(group, name)
      stored = data.id.get_storage_size()
      if data.size and data.nbytes > max(_MOST_EMPTY, 1000 * stored):
        raise ValueError(
          f"{name!r} declares the shape {data.shape}, but stores {stored} bytes"
        )
    elif isinstance(found, h5py.Group):
      address = h5py.h5o.get_info(found.id).addr  # pyright: ignore
      if address not in seen:  # groups may hold each other
        seen.add(address)
        _check_group(found, seen)


def text(value: Any) -> str:
  """Returns a text of an HDF5 file, decoded if it is bytes."""
  return value.decode("utf-8") if isinstance(value, bytes) else str(value)
