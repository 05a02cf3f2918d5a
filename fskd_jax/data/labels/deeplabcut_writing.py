"""Writes a project of DeepLabCut that its labelling tool opens.

Keypoints that a person placed are in CollectedData_SCORER, those of a machine, with
their likelihood, in machinelabels-iter0, which DeepLabCut offers for refinement.
"""

import datetime
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from fskd_jax.data.labels import deeplabcut, tables
from fskd_jax.data.labels.schema import Labels
from fskd_jax.data.labels.tables import Table
from fskd_jax.files import write_text

_SCORER = "fskd"
_NAMED = re.compile(r"(?P<task>.+)-(?P<scorer>[^-]+)-\d{4}-\d{2}-\d{2}")
"""DeepLabCut's names of projects: TASK-SCORER-2026-11-27."""


def place(name: str, out: pathlib.Path) -> str:
  """Returns the path of an image in a project: labeled-data/CLIP/FILE.

  Args:
    name: The path of the image from the folder of the images.
    out: The project, whose name is the clip of images that are in no folder.
  """
  *folders, file = name.removeprefix("labeled-data/").split("/")
  return f"labeled-data/{'_'.join(folders) or _task(out)}/{file}"


def _task(out: pathlib.Path) -> str:
  named = _NAMED.fullmatch(out.name)
  return named["task"] if named else out.name


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes config.yaml, and the tables of each clip as CSV and H5.

  Raises:
    ValueError: Images of different folders would have the same path.
  """
  table = tables.from_labels(labels)
  rows = [place(str(name), out) for name in table.rows]
  if len({*rows}) < len(rows):
    twice = next(row for row in rows if rows.count(row) > 1)
    raise ValueError(
      f"two images would be {twice} of the project; rename their folders"
    )
  named = _NAMED.fullmatch(out.name)
  scorer = named["scorer"] if named else _SCORER
  clips: dict[str, list[int]] = {}
  for number, row in enumerate(rows):
    clips.setdefault(row.rpartition("/")[0], []).append(number)
  by_machine = np.isfinite(table.points[..., 2])
  for clip, numbers in clips.items():
    (unfinished / clip).mkdir(parents=True)
    own: list[str | int] = [rows[i] for i in numbers]
    for stem, chosen in (
      (f"CollectedData_{scorer}", ~by_machine[numbers]),
      ("machinelabels-iter0", by_machine[numbers]),
    ):
      points = np.where(chosen[..., None], table.points[numbers], np.nan)
      if stem.startswith("Collected") or chosen.any():
        part = Table(table.columns, own, points)
        _write_both(part, unfinished / clip / stem)
  sizes = {clip: labels.images[numbers[0]].size for clip, numbers in clips.items()}
  settings = _settings(table, labels, scorer, sizes, out)
  text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
  write_text(unfinished / "config.yaml", text)


def _write_both(table: Table, stem: pathlib.Path) -> None:
  for write, suffix in (
    (deeplabcut.write_table_csv, ".csv"),
    (deeplabcut.write_table_h5, ".h5"),
  ):
    path = stem.with_name(stem.name + suffix)
    write(table, path, path)


def _settings(
  table: Table,
  labels: Labels,
  scorer: str,
  sizes: dict[str, tuple[int, int] | None],
  out: pathlib.Path,
) -> dict[str, Any]:
  """Returns what DeepLabCut writes to config.yaml of a new project."""
  individuals = [*dict.fromkeys(individual for individual, _ in table.columns)]
  names = [*dict.fromkeys(name for _, name in table.columns)]
  is_multi = individuals != [""]
  parts: dict[str, Any] = {"bodyparts": names}
  if is_multi:
    parts = {
      "individuals": individuals,
      "uniquebodyparts": [],
      "multianimalbodyparts": names,
      "bodyparts": "MULTI!",
    }
  return {
    "Task": _task(out),
    "scorer": scorer,
    "date": f"{datetime.date.today():%b%d}",
    "multianimalproject": is_multi,
    "identity": False if is_multi else None,
    "project_path": str(out.absolute()),
    "video_sets": _videos(sizes),
    **parts,
    "start": 0,
    "stop": 1,
    "numframes2pick": 20,
    "skeleton": _skeleton(labels),
    "skeleton_color": "black",
    "pcutoff": 0.6,
    "dotsize": 12,
    "alphavalue": 0.7,
    "colormap": "rainbow",
    "TrainingFraction": [0.95],
    "iteration": 0,
    "default_net_type": "dlcrnet_ms5" if is_multi else "resnet_50",
    "default_augmenter": "multi-animal-imgaug" if is_multi else "default",
    "snapshotindex": -1,
    "batch_size": 8,
    "cropping": False,
    "x1": 0,
    "x2": 640,
    "y1": 277,
    "y2": 624,
    "corner2move2": [50, 50],
    "move2corner": True,
  }


def _videos(sizes: dict[str, tuple[int, int] | None]) -> dict[str, dict[str, str]]:
  """Returns a video for each clip, by whose name DeepLabCut finds its folder."""
  found = {}
  for clip, size in sizes.items():
    width, height = size or (0, 0)
    name = clip.rpartition("/")[2]
    found[f"videos/{name}.mp4"] = {"crop": f"0, {width}, 0, {height}"}
  return found


def _skeleton(labels: Labels) -> Sequence[list[str]]:
  pairs = (pair for c in labels.categories.values() for pair in c.skeleton)
  return [list(pair) for pair in dict.fromkeys(pairs)]
