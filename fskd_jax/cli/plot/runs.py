"""fskd plot: training curves of runs and scores of an evaluation."""

import argparse
import pathlib

from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.files import read_json
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.pictures.scores import draw_scores
from fskd_jax.training.writer import METRICS_FILE


def add_curves(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot curves`."""
  parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
  add_out(parser)
  parser.set_defaults(run=_run_curves)


def add_scores(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot scores`."""
  parser.add_argument("--workdir", required=True, help="folder of an evaluated run")
  add_out(parser)
  parser.set_defaults(run=_run_scores)


def _run_curves(args: argparse.Namespace) -> int:
  folders = {run: pathlib.Path(run) for run in args.runs}
  names = [folder.name for folder in folders.values()]
  are_told_apart = len(set(names)) == len(names)
  files = {}
  for run, folder in folders.items():
    path = folder / METRICS_FILE
    if not path.is_file():
      raise FileNotFoundError(f"{run} is no run: there is no {path}")
    files[folder.name if are_told_apart else run] = path
  return save(draw_curves(files), args.out)


def _run_scores(args: argparse.Namespace) -> int:
  path = pathlib.Path(args.workdir) / "eval" / "results.json"
  if not path.is_file():
    raise FileNotFoundError(f"there is no {path}; evaluate.py writes it")
  return save(draw_scores(read_json(path)), args.out)
