"""Temporary files of the page: a few for each visitor, kept for a short time."""

import collections
import pathlib
import secrets
import shutil
import time

_KEPT = 3
"""Number of files kept per name: the browser may still be loading the previous one."""

_PREFIX = "page_"
_UPLOAD_SECONDS = 600


class PageFiles:
  """Drawings and downloads of one visitor; a new one replaces the old ones."""

  def __init__(self, root: pathlib.Path):
    """Makes an empty set of files.

    Args:
      root: The folder that the server may serve.
    """
    self._root = root
    self._folders: dict[str, collections.deque[pathlib.Path]] = {}

  def __deepcopy__(self, memo: dict) -> "PageFiles":
    """Returns an empty set, so that every visitor has their own files."""
    return PageFiles(self._root)

  def new(self, name: str) -> pathlib.Path:
    """Returns a path for a file, in a folder whose name nobody can guess."""
    folder = self._root / f"{_PREFIX}{secrets.token_hex(16)}"
    folder.mkdir(mode=0o700)
    folders = self._folders.setdefault(name, collections.deque())
    folders.append(folder)
    while len(folders) > _KEPT:
      shutil.rmtree(folders.popleft(), ignore_errors=True)
    return folder / name

  def remove(self) -> None:
    """Removes all files."""
    for folders in self._folders.values():
      for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    self._folders = {}


def remove_old_uploads(root: pathlib.Path) -> None:
  """Removes uploaded files older than ten minutes, which the page has read.

  Uploads of the same content share a file, so that files cannot be removed as soon as
  they are read.
  """
  oldest = time.time() - _UPLOAD_SECONDS
  for path in root.rglob("*"):
    if path.relative_to(root).parts[0].startswith(_PREFIX) or not path.is_file():
      continue
    if path.lstat().st_ctime < oldest:
      path.unlink(missing_ok=True)
