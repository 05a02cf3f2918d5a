"""Reads projects of DeepLabCut and data folders of lightning-pose.

A project has a folder for each clip in labeled-data/, with the images and a table
CollectedData_SCORER, as H5 and CSV; lightning-pose keeps one such table beside
labeled-data/. Images are named by their paths from the project: labeled-data/CLIP/FILE.
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fskd_jax.data.labels import (
  deeplabcut,
  individuals,
  schema,
  tables,
  yaml_file,
)
from fskd_jax.data.labels.schema import Category, Labels
from fskd_jax.messages import naming, printable, raise_if

_log = logging.getLogger(__name__)

_CLIPS = "labeled-data"
_CONFIG = "config.yaml"
_TABLES = "CollectedData*"


def root(path: pathlib.Path) -> pathlib.Path | None:
  """Returns the project that a path leads to, None if it leads to none.

  Args:
    path: The folder of a project, its config.yaml, or its folder labeled-data.
  """
  if path.name == _CONFIG and path.is_file():
    path = path.parent
  if path.absolute().name == _CLIPS and path.is_dir():
    path = path.absolute().parent
  if path.is_dir() and (_stems(path / _CLIPS, f"*/{_TABLES}") or _is_lightning(path)):
    return path
  return None


def _is_lightning(folder: pathlib.Path) -> bool:
  return (folder / _CLIPS).is_dir() and bool(_stems(folder, _TABLES))


def _stems(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
  """Returns the tables in a folder, without their suffixes, once each."""
  found = (p for p in folder.glob(pattern) if p.suffix.lower() in (".csv", ".h5"))
  return sorted({p.with_suffix("") for p in found if p.is_file()})


def read(path: pathlib.Path) -> Labels:
  """Reads the labels of all clips, and the skeleton of config.yaml.

  Raises:
    ValueError: There is no labelled clip, a clip has tables of several scorers of whom
      config.yaml names none, or a table is damaged.
  """
  folder = root(path)
  if folder is None:
    raise ValueError(
      f"{path}: has no {_CLIPS}/CLIP/{_TABLES}, expected a DeepLabCut project"
    )
  settings = _settings(folder)
  stems = _of_scorer(_stems(folder / _CLIPS, f"*/{_TABLES}"), settings.get("scorer"))
  if not stems:
    stems = _stems(folder, _TABLES)
  found = [(stem, _table(stem)) for stem in stems]
  species = individuals.species_of(*tables.parts_of([table for _, table in found]))
  labels = schema.merge(
    [tables.to_labels(table, stem, species) for stem, table in found]
  )
  return _with_skeleton(labels, settings.get("skeleton"))


def _settings(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / _CONFIG
  return yaml_file.read(path) if path.is_file() else {}


def _of_scorer(stems: Sequence[pathlib.Path], scorer: Any) -> list[pathlib.Path]:
  """Returns one table of each clip: the only one, or that of the project's scorer."""
  clips: dict[pathlib.Path, list[pathlib.Path]] = {}
  for stem in stems:
    clips.setdefault(stem.parent, []).append(stem)
  chosen, doubtful = [], []
  for clip, several in clips.items():
    named = [stem for stem in several if stem.name == f"CollectedData_{scorer}"]
    if len(several) == 1 or named:
      chosen.append((named or several)[0])
    else:
      doubtful.append(f"{clip.name} has {', '.join(stem.name for stem in several)}")
  raise_if(
    doubtful,
    ValueError,
    f"clips with tables of several scorers, none of them {scorer!r}",
  )
  return chosen


def _table(stem: pathlib.Path) -> tables.Table:
  """Returns the table of a clip: of the H5, which DeepLabCut trains on, or the CSV.

  Raises:
    ValueError: The only file is damaged, or both are.
  """
  paths = [stem.with_suffix(suffix) for suffix in (".h5", ".csv")]
  h5, csv = (path if path.is_file() else None for path in paths)
  if h5 is None:
    assert csv
    return _read(csv)
  if csv is None:
    return _read(h5)
  try:
    table = _read(h5)
  except ValueError as error:
    _log.warning("%s is read instead of the .h5: %s", printable(str(csv)), error)
    return _read(csv)
  if not _are_equal(table, _read(csv)):
    _log.warning(
      "%s differs from the .csv beside it: the .h5 is read, as DeepLabCut does",
      printable(str(h5)),
    )
  return table


def _read(path: pathlib.Path) -> tables.Table:
  with naming(path):
    return (deeplabcut if path.suffix == ".h5" else tables).read_table(path)


def _are_equal(one: tables.Table, other: tables.Table) -> bool:
  return (
    [*one.columns] == [*other.columns]
    and [*one.rows] == [*other.rows]
    and np.allclose(one.points, other.points, rtol=0, atol=1e-3, equal_nan=True)
  )


def _with_skeleton(labels: Labels, pairs: Any) -> Labels:
  """Returns labels with the pairs of names of config.yaml that a species has."""
  pairs = [tuple(p) for p in pairs or () if isinstance(p, list) and len(p) == 2]
  categories = {
    species: Category(
      category.keypoints,
      tuple(pair for pair in pairs if {*pair} <= {*category.keypoints}),
    )
    for species, category in labels.categories.items()
  }
  return labels._replace(categories=categories)
