"""Matches the paths by which labels call their images with those of files.

Labels name an image by a path relative to a root that need not exist here, with either
slash. Two paths are of the same image if they share the longest end; a file name alone
is not enough where folders say something else.
"""

import collections
import filecmp
import os
import pathlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

Parts = tuple[str, ...]


class Nearest(NamedTuple):
  """The paths that share the longest end with a name.

  Attributes:
    paths: The paths as given; several share an end of the same length.
    length: The number of folders and file names in that end, 0 without a path.
    whole: Whether the end is all of the name, or all of each path. Otherwise the two
      lie in folders of different names.
  """

  paths: tuple[str, ...] = ()
  length: int = 0
  whole: bool = False


class PathIndex:
  """Paths that are searched by their ends."""

  def __init__(self, paths: Iterable[str]):
    """Indexes all ends of the paths."""
    self._by_end: dict[Parts, list[str]] = collections.defaultdict(list)
    self._parts = {path: split(path) for path in paths}
    for path, parts in self._parts.items():
      for end in _ends(parts):
        self._by_end[end].append(path)

  def nearest(self, name: str) -> Nearest:
    """Returns the paths that share the longest end with a name."""
    parts = split(name)
    for end in _ends(parts):
      found = self._by_end.get(end, [])
      same = tuple(path for path in found if self._parts[path] == end)
      if found:
        return Nearest(same or tuple(found), len(end), bool(same) or end == parts)
    return Nearest()


def split(path: str) -> Parts:
  """Returns the folders and the file name of a path, with either slash."""
  normal = posixpath.normpath(path.replace("\\", "/"))
  return tuple(part for part in normal.split("/") if part not in ("", ".", ".."))


def _ends(parts: Parts) -> Iterator[Parts]:
  """Yields the ends of a path, longest first."""
  return (parts[start:] for start in range(len(parts)))


class Matches(NamedTuple):
  """The files of names.

  Attributes:
    files: The file of each name; None if there is none.
    guesses: Pairs of a name and its file, which lie in folders of different names.
  """

  files: tuple[str | None, ...]
  guesses: tuple[tuple[str, str], ...]


def match(names: Sequence[str], files: Iterable[str]) -> Matches:
  """Returns the file of each name: the one that shares the longest end of its path.

  Where several names share a file, the longest end wins. Where a folder has some files
  exactly as named, it has no others. A folder may have been renamed: a file in another
  folder than its name says counts if it is the only one, and no name of a third folder
  is nearest to a file of that folder.

  Raises:
    ValueError: A name is the end of the paths of several files.
  """
  index = PathIndex(files)
  nearest = [index.nearest(name) for name in names]
  # Label Studio puts eight digits in front of the names of uploaded files.
  nearest = [
    found if found.paths else index.nearest(re.sub(r"(^|/)[0-9a-f]{8}-", r"\1", name))
    for name, found in zip(names, nearest)
  ]
  exact = {_folder(n) for n, found in zip(names, nearest) if _is_exact(n, found)}
  best: dict[str, tuple[int, bool]] = {}
  owners: dict[Parts, set[Parts]] = collections.defaultdict(set)
  for place, (name, found) in enumerate(zip(names, nearest)):
    if _folder(name) in exact and not _is_exact(name, found):
      nearest[place] = found = Nearest()
    if found.whole and len(found.paths) > 1:
      raise ValueError(
        f"{name!r} may be {found.paths[0]} or {found.paths[1]}: write the folder into "
        "the labels, or name a folder that holds only one of the two"
      )
    for path in found.paths:
      best[path] = max(best.get(path, (0, False)), (found.length, found.whole))
      owners[_folder(path)].add(_folder(name))
  chosen: list[str | None] = []
  for paths, length, whole in nearest:
    is_one = len(paths) == 1 and best[paths[0]] == (length, whole)
    is_free = is_one and (whole or len(owners[_folder(paths[0])]) == 1)
    chosen.append(paths[0] if is_free else None)
  guesses = [
    (name, file)
    for name, file, found in zip(names, chosen, nearest)
    if file is not None and not found.whole
  ]
  return Matches(tuple(chosen), tuple(guesses))


def _folder(path: str) -> Parts:
  return split(path)[:-1]


def _is_exact(name: str, found: Nearest) -> bool:
  return found.whole and split(found.paths[0]) == split(name)


def told_apart(
  named: Sequence[Sequence[str]], files: Sequence[pathlib.Path]
) -> list[dict[str, str]]:
  """Returns other names for those that several files have, with the folder of each.

  Two files in a/ and b/ that both name i.png mean a/i.png and b/i.png. Files in the
  same folder mean the same image.

  Args:
    named: The names of images in each file.
    files: The paths of the files, or of folders of files.

  Returns:
    The new names of each file, by the old ones.
  """
  counts = collections.Counter(name for names in named for name in {*names})
  root = os.path.commonpath([_beside(file) for file in files])
  found = []
  for names, file in zip(named, files):
    shared = [name for name in names if counts[name] > 1]
    found.append({name: _below(root, file, name) for name in shared})
  return found


def _below(root: str, file: pathlib.Path, name: str) -> str:
  """Returns the path of an image from a folder, as a file below it names the image."""
  folder, parts = _beside(file).relative_to(root), split(name)
  # labeled-data/clip/i.png in labeled-data/clip/labels.csv names each folder once.
  start = folder.parts.index(parts[0]) if parts[0] in folder.parts else None
  overlaid = pathlib.Path(root, *folder.parts[:start], *parts)
  there = [path for path in _near(file, name) if path.is_file()]
  path = there[0] if there and not overlaid.is_file() else overlaid
  return path.relative_to(root).as_posix() if path.is_relative_to(root) else name


def _beside(file: pathlib.Path) -> pathlib.Path:
  whole = file.absolute()
  return whole if whole.is_dir() else whole.parent


def _near(file: pathlib.Path, name: str) -> list[pathlib.Path]:
  """Returns the usual places of an image that a file of labels names."""
  beside = _beside(file)
  roots = beside, beside / "images", beside.parent / "images", beside.parent
  return [root.joinpath(*split(name)) for root in roots]


def other_picture(
  image: pathlib.Path, name: str, labels: pathlib.Path
) -> pathlib.Path | None:
  """Returns the picture that labels call by a name, if it is another than `image`.

  It is looked for beside the labels and in images/ beside them, and if it is not there,
  below the folders that the image lies in. A copy of the image is the same picture.

  Args:
    image: The path of the image asked for.
    name: The path of an image in the labels.
    labels: The path of their file.
  """
  below = [parent.joinpath(*split(name)) for parent in image.absolute().parents]
  for places in (_near(labels, name), below):
    there = [path for path in places if path.is_file()]
    if there and image.is_file():
      is_same = any(filecmp.cmp(path, image, shallow=False) for path in there)
      return None if is_same else there[0]
  return None
