"""Result files of an evaluation and their headline numbers."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fskd_jax.config import EvalConfig
from fskd_jax.files import write_json, write_picture, write_text

SEARCH_WAYS = ("boxes_given", "searched")
"""How the queries of an evaluation are predicted a second time; the support always has
its boxes."""


def results_folder(workdir: str | os.PathLike, cfg: EvalConfig) -> pathlib.Path:
  """Returns where the results of a run go: eval/, or eval/reference/ by protocol."""
  folder = pathlib.Path(workdir) / "eval"
  return folder if cfg.protocol == "ours" else folder / cfg.protocol


def headline(cfg: EvalConfig) -> float:
  """Returns the threshold that tables and pictures speak of: 0.1, or nearest."""
  return min(cfg.thresholds, key=lambda t: abs(t - 0.1))


def percent(mean: Mapping[str, Any]) -> str:
  """Formats a mean of `metrics.episode_mean` with its interval."""
  half = mean["ci95"]
  text = f"{100 * (mean['mean'] or 0.0):.1f}"
  return text if half is None else f"{text} ± {100 * half:.1f}"


def write_results(
  results: Mapping[str, Any], text: str, picture: np.ndarray, folder: pathlib.Path
) -> None:
  """Writes results.json, table.txt and episodes.png."""
  write_text(folder / "table.txt", text + "\n")
  write_picture(folder / "episodes.png", picture)
  write_json(folder / "results.json", results)  # last: it stands for a whole evaluation
