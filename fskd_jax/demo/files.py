"""Files behind the page of `fskd demo`: a few for each visitor, none for long."""

import collections
import pathlib
import secrets
import shutil
import time

_KEPT = 3
"""Files of a name that stay: the browser may still be loading the one before."""

_PREFIX = "page_"
_UPLOAD_SECONDS = 600


class PageFiles:
  """Drawings and downloads of one visitor; a new one replaces the old ones."""

  def __init__(self, root: pathlib.Path):
    """Creates nothing yet.

    Args:
      root: folder that the server may serve.
    """
    self._root = root
    self._folders: dict[str, collections.deque[pathlib.Path]] = {}

  def __deepcopy__(self, memo: dict) -> "PageFiles":
    """Returns an empty one: so every visitor gets their own."""
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
  """Removes uploaded files of ten minutes ago or more: the page has read them long ago.

  They are not removed as soon as they are read, because uploads of the same content
  share a file.
  """
  oldest = time.time() - _UPLOAD_SECONDS
  for path in root.rglob("*"):
    if path.relative_to(root).parts[0].startswith(_PREFIX) or not path.is_file():
      continue
    if path.lstat().st_ctime < oldest:
      path.unlink(missing_ok=True)
