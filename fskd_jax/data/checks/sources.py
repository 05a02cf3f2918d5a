"""Opens what the doctor examines: files of COCO as they are, other labels as COCO.

A file of COCO is examined entry by entry. Labels of other tools are read as training
reads them (`any_labels`), so that their faults are those of the readers.
"""

import pathlib
import re
from typing import NamedTuple

from fskd_jax.data import any_labels, coco_file
from fskd_jax.data.coco_file import CocoFile
from fskd_jax.data.labels import json_kinds

MP100 = re.compile(r"mp100_split[1-5]_(train|val|test)")
"""Names of the files of MP-100: five ways to split the same images."""

_SPLITS = {
  "train": "train",
  "training": "train",
  "val": "validation",
  "valid": "validation",
  "validation": "validation",
  "dev": "validation",
  "test": "test",
  "testing": "test",
}


class Source(NamedTuple):
  """A file of labels.

  Attributes:
    name: The name of the file.
    coco: Its entries; None if it cannot be read.
    problems: What is wrong in it.
    split: The split that its name or folder says, if any.
  """

  name: str
  coco: CocoFile | None
  problems: list[str]
  split: frozenset[str] = frozenset()


class Opened(NamedTuple):
  """Files of labels and the folder of their images.

  Attributes:
    sources: The files.
    root: The folder.
    kind: The kind of labels, "" for COCO.
    told: What was left out or made.
  """

  sources: list[Source]
  root: pathlib.Path
  kind: str = ""
  told: tuple[str, ...] = ()


def read(path: pathlib.Path) -> Opened:
  """Reads the labels of a file or folder.

  Raises:
    FileNotFoundError: There is no such path, or none of the images of labels that are
      not COCO.
    ValueError: The labels are of no known kind, or cannot be read.
  """
  files = _coco_files(path)
  folder = path if path.is_dir() else path.parent
  if not path.is_dir() and path.parent.name == "annotations":
    folder = path.parent.parent
  root = folder / "images" if (folder / "images").is_dir() else folder
  found = [_read(file, path) for file in files]
  names = [e["file_name"] for s in found if s.coco for e in s.coco.images.values()]
  if files and (not names or any((root / name).is_file() for name in names)):
    return Opened(found, root)
  try:
    located = any_labels.locate(path)
  except (FileNotFoundError, ValueError):
    if files:
      return Opened(found, root)
    raise
  coco, problems = coco_file.of_entries(located.entries)
  only = [Source(path.name, coco, problems)]
  return Opened(only, located.root, located.kind, located.told)


def _coco_files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns files of COCO, and damaged ones beside them or alone."""
  for folder in (path, path / "annotations", path / "gt_coco"):
    files = [path] if path.is_file() else sorted(folder.glob("*.json"))
    kept = {file: _is_coco(file) for file in files if file.suffix.lower() == ".json"}
    if any(kept.values()) or (kept and None in kept.values()):
      return [file for file, is_one in kept.items() if is_one is not False]
  return []


def _is_coco(file: pathlib.Path) -> bool | None:
  """Returns whether a file is COCO; None if nobody can read it."""
  try:
    return json_kinds.is_coco(file)
  except ValueError:
    return None


def _read(file: pathlib.Path, path: pathlib.Path) -> Source:
  words = "" if file == path else file.relative_to(path).as_posix()
  split = frozenset() if MP100.match(file.name) else splits_in(words)
  try:
    coco, problems = coco_file.examine(file)
  except ValueError as error:
    return Source(file.name, None, [str(error)], split)
  return Source(file.name, coco, problems, split)


def splits_in(name: str) -> frozenset[str]:
  """Returns the splits that words of a path name."""
  words = re.split(r"[^a-z]+", name.lower())
  return frozenset(_SPLITS[word] for word in words if word in _SPLITS)
