"""Reads folders of label files of one kind: splits, clips, or a single export."""

import logging
import os
import pathlib
from collections.abc import Callable

from fskd_jax.data.labels import image_roots, schema
from fskd_jax.data.labels.schema import Labels
from fskd_jax.messages import join_first

_log = logging.getLogger(__name__)

_SUFFIXES = {".json", ".csv", ".tsv", ".xml", ".h5", ".hdf5", ".slp", ".nwb", ".tps"}
_MOST = 10_000  # files that are looked into

NameOf = Callable[[pathlib.Path], str]
Reader = Callable[[pathlib.Path, pathlib.Path | None], Labels]


def read(
  folder: pathlib.Path,
  images: pathlib.Path | None,
  name_of: NameOf,
  read_file: Reader,
  expected: str,
) -> Labels:
  """Reads all label files in a folder and below, which are of one kind.

  Each file's images are looked for near it, so that train/a.jpg of one file and
  valid/a.jpg of another are two images; their names are paths from the folder.

  Args:
    folder: The folder.
    images: The folder of the images, if it is told.
    name_of: Returns the name of the kind of a file; a ValueError if it has none.
    read_file: Reads a file.
    expected: What is read, for the message where nothing is found.

  Raises:
    ValueError: There is no file of labels, there are several kinds, or a file is
      damaged.
  """
  found, others = _files(folder, name_of)
  parts, faults = {}, []
  for path in [path for paths in found.values() for path in paths]:
    try:
      parts[path] = read_file(path, images)
    except ValueError as error:
      if path.suffix.lower() != ".csv":
        raise
      faults.append(str(error))  # a CSV file may be of anything
  kinds = {kind: [p for p in paths if p in parts] for kind, paths in found.items()}
  kinds = {kind: paths for kind, paths in kinds.items() if paths}
  if not parts:
    held = [*faults, *others]
    told = join_first(held) if held else f"expected {expected}"
    raise ValueError(f"{folder}: no labels of a known kind in it; {told}")
  if len(kinds) > 1:
    told = "; ".join(
      f"{paths[0].relative_to(folder)} ({kind})" for kind, paths in kinds.items()
    )
    raise ValueError(f"{folder}: labels of several kinds: {told}; name one of them")
  if faults or others:
    _log.warning(
      "%s: %d files are no labels of a known kind: %s",
      folder, len(faults) + len(others), join_first([*faults, *others]),
    )  # fmt: skip
  if images or len(parts) == 1:
    return schema.merge([*parts.values()])
  return schema.merge([_from(folder, path, part) for path, part in parts.items()])


def _files(
  folder: pathlib.Path, name_of: NameOf
) -> tuple[dict[str, list[pathlib.Path]], list[str]]:
  """Returns the label files by kind, and what is wrong with the others."""
  paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
  paths = [p for p in paths if p.is_file() and not _is_hidden(p.relative_to(folder))]
  if len(paths) > _MOST:
    raise ValueError(f"{folder}: has {len(paths)} files that may be labels; name one")
  found: dict[str, list[pathlib.Path]] = {}
  others = []
  for path in paths:
    try:
      found.setdefault(name_of(path), []).append(path)
    except ValueError as error:
      others.append(str(error))
  return found, others


def _is_hidden(path: pathlib.Path) -> bool:
  return any(part.startswith(".") for part in path.parts)


def _from(folder: pathlib.Path, path: pathlib.Path, labels: Labels) -> Labels:
  """Returns labels whose images are named by their paths from a folder."""
  root = image_roots.of_file(labels, path)
  if root is None:
    return labels
  new = {
    image.name: _below(folder, root / image.name)
    for image in labels.images
    if isinstance(image.name, str) and (root / image.name).is_file()
  }
  return schema.renamed(labels, new)


def _below(folder: pathlib.Path, path: pathlib.Path) -> str:
  """Returns the path from a folder, or from the nearest folder above both."""
  root = os.path.commonpath([folder.absolute(), path.absolute()])
  return pathlib.Path(os.path.relpath(path.absolute(), root)).as_posix()
