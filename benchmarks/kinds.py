"""Measures a detector on kinds that it was never trained on, beside what costs nothing.

  python -m benchmarks.kinds --workdir runs/any --root ../shared/data --shots 1 5
  python -m benchmarks.kinds --workdir runs/any --root ../shared/data --sources doors

PCK@0.1 of every data set below the root: the detector, the frozen features of its
encoder alone ("untrained") and copied support coordinates; with 95 % intervals over
episodes. The calibration error is that of the confidences that a user gets. A data set
that the detector was trained on counts only if the run held it out: name the others
with --sources. Writes <workdir>/eval/kinds.json.
"""

import argparse
import logging
import pathlib
import sys
from typing import Any

import numpy as np

from fskd_jax import experiment
from fskd_jax.config import Config
from fskd_jax.files import write_json

METHODS = ("detector", "untrained_encoder", "copy_support")


def main() -> int:
  parser = argparse.ArgumentParser("python -m benchmarks.kinds")
  parser.add_argument("--workdir", required=True, type=pathlib.Path)
  parser.add_argument("--root", required=True, type=pathlib.Path)
  parser.add_argument("--sources", nargs="+", help="folders below the root; all")
  parser.add_argument("--shots", type=int, nargs="+", default=[1])
  parser.add_argument("--episodes", type=int, default=150)
  args = parser.parse_args()
  logging.basicConfig(level=logging.WARNING)
  folders = [path.parent for path in sorted(args.root.glob("*/annotations.json"))]
  if args.sources:
    folders = [args.root / name for name in args.sources]
  rows = []
  for shots in args.shots:
    for folder in folders:
      row = _measure(args.workdir, folder, shots, args.episodes)
      rows.append(row)
      print(_line(row), flush=True)
    same = [row for row in rows if row["shots"] == shots]
    print(_line(_mean(same)), flush=True)
  write_json(args.workdir / "eval" / "kinds.json", rows)
  return 0


def _measure(
  workdir: pathlib.Path, folder: pathlib.Path, shots: int, episodes: int
) -> dict[str, Any]:
  """Evaluates on one data set; returns a row of the table."""

  def change(cfg: Config) -> Config:
    cfg.eval.episodes, cfg.eval.shots, cfg.eval.queries = episodes, shots, 2
    cfg.eval.search_episodes = 0
    cfg.data.min_support_types, cfg.data.min_query_types = 2, 1
    cfg.data.min_query_fraction = 0.0
    return cfg

  found = experiment.evaluate(workdir, data=str(folder), change=change)
  (setting,) = found["settings"].values()
  scores = {"detector": setting, **setting["baselines"]}
  return {
    "source": folder.name,
    "shots": shots,
    "calibration_error": setting.get("calibration_error"),
    **{name: scores[name]["pck"]["0.1"] for name in METHODS},
  }


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns the mean over data sets, with the interval that follows from theirs."""

  def mean(name: str) -> dict[str, float]:
    means, errors = (np.array([row[name][x] for row in rows]) for x in ("mean", "ci95"))
    return {
      "mean": float(means.mean()),
      "ci95": float(np.sqrt((errors**2).sum()) / len(rows)),
    }

  shots = rows[0]["shots"]
  return {"source": "mean", "shots": shots, **{name: mean(name) for name in METHODS}}


def _line(row: dict[str, Any]) -> str:
  values = (
    f"{name} {100 * row[name]['mean']:5.1f} ± {100 * row[name]['ci95']:4.1f}"
    for name in METHODS
  )
  error = row.get("calibration_error")
  end = "" if error is None else f"  calibration error {100 * error:.1f}"
  return f"{row['source']:20s} {row['shots']}-shot  {'  '.join(values)}{end}"


if __name__ == "__main__":
  sys.exit(main())
