"""fskd experiment proposition1: tests that SMD approximates MDS, on 1000 trials."""

import argparse
import json
import pathlib
import time

from fskd_jax.analysis.proposition1 import report
from fskd_jax.files import write_json, write_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
  parser.add_argument("--trials", type=int, default=1000)
  parser.add_argument("--seed", type=int, default=0)
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes proposition1.json and proposition1.png, and prints the numbers."""
  if args.trials < 1:
    raise ValueError(f"--trials {args.trials}: expected at least 1")
  start = time.perf_counter()
  numbers, figure = report.run(args.seed, args.trials, print)
  numbers["seconds"] = round(time.perf_counter() - start, 1)
  write_picture(args.out / "proposition1.png", figure)
  write_json(args.out / "proposition1.json", numbers)
  print(json.dumps(numbers, indent=2))
  return 0
