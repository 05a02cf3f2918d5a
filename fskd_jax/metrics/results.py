"""Result files of an evaluation and their headline numbers."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fskd_jax.config import EvalConfig
from fskd_jax.files import write_json, write_picture, write_text

SEARCH_WAYS = ("boxes_given", "searched")
"""Settings of the evaluation's second prediction of each query, without its box; the
support always has its boxes."""


def is_as_predicted(cfg: EvalConfig) -> bool:
  """Whether an evaluation crops and decodes as predictions for users do."""
  return cfg.protocol == "ours" and cfg.decoding == "mode"


def results_folder(workdir: str | os.PathLike, cfg: EvalConfig) -> pathlib.Path:
  """Returns the folder of a run's results.

  It is eval/ for an evaluation that crops and decodes as predictions do, otherwise a
  folder below it: reference/ for that protocol, then argmax/ for that decoding.
  """
  folder = pathlib.Path(workdir) / "eval"
  if cfg.protocol != "ours":
    folder /= cfg.protocol
  return folder if cfg.decoding == "mode" else folder / cfg.decoding


def headline(cfg: EvalConfig) -> float:
  """Returns the PCK threshold of tables and pictures: 0.1, or the nearest one."""
  return min(cfg.thresholds, key=lambda t: abs(t - 0.1))


def percent(mean: Mapping[str, Any]) -> str:
  """Formats a mean returned by `scores.episode_mean` with its interval."""
  half = mean["ci95"]
  text = f"{100 * (mean['mean'] or 0.0):.1f}"
  return text if half is None else f"{text} ± {100 * half:.1f}"


def write_report(
  results: Mapping[str, Any],
  text: str,
  picture: np.ndarray,
  folder: pathlib.Path,
  more: Mapping[str, Any],
) -> None:
  """Writes table.txt, episodes.png and other files, and finally results.json.

  Args:
    results: The content of results.json.
    text: The content of table.txt.
    picture: The pixels of episodes.png.
    folder: The folder to write to; created if it does not exist.
    more: The content of further JSON files, by file name.
  """
  for name, content in more.items():
    write_json(folder / name, content, indent=None)
  write_text(folder / "table.txt", text + "\n")
  write_picture(folder / "episodes.png", picture)
  write_json(folder / "results.json", results)  # last: marks a whole evaluation
