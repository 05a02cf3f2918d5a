"""Keeps the content of a file, which is looked at to find its kind and then read."""

import functools
import pathlib
from collections.abc import Callable
from typing import TypeVar

_MOST_KEPT = 2**25  # bytes of a file whose content is kept for the next look

_T = TypeVar("_T")


def kept(read: Callable[[pathlib.Path], _T]) -> Callable[[pathlib.Path], _T]:
  """Decorator of a reader: files that have not changed are read once in a row.

  What is read is shared, and not to be changed.
  """

  @functools.lru_cache(maxsize=2)
  def unchanged(path: pathlib.Path, _time: int, _size: int) -> _T:
    return read(path)

  @functools.wraps(read)
  def look(path: pathlib.Path) -> _T:
    stat = path.stat()
    if stat.st_size > _MOST_KEPT:
      return read(path)
    return unchanged(path, stat.st_mtime_ns, stat.st_size)

  return look
