"""Atomic file writes."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a name to write to, which becomes `path` in one move if nothing fails.

  A folder may be made there, too, unless `path` exists.

  Raises:
    FileNotFoundError: the folder of `path` does not exist.
  """
  if not path.absolute().parent.is_dir():
    raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
  unfinished = path.with_name(path.name + ".part")
  try:
    yield unfinished
    unfinished.replace(path)
  finally:
    if unfinished.is_dir():
      shutil.rmtree(unfinished)
    unfinished.unlink(missing_ok=True)
