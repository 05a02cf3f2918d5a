"""fskd data doctor: checks a data set and reports faults.

Exit status: 0, or 1 if a fault would stop training or evaluation, or make it wrong.

  fskd data doctor frames
"""

import argparse
import pathlib

from tqdm import tqdm

from fskd_jax.data.checks import doctor
from fskd_jax.files import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("path", type=pathlib.Path, help="folder, or annotation file")
  parser.add_argument("--json", type=pathlib.Path, help="file for all cases as JSON")
  parser.add_argument(
    "--cases", type=int, default=5, help="cases to show per finding (%(default)s)"
  )
  parser.add_argument(
    "--no-mirror",
    action="store_true",
    help="training will mirror no image (--config.data.flip_probability=0), so that "
    "names of one side need no partner",
  )
  parser.add_argument(
    "--strict",
    action="store_true",
    help="exit status 1 for warnings, too, as missing images",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints the report."""
  report = doctor.examine(
    args.path,
    lambda x: tqdm(x, unit="image", leave=False, disable=None),
    is_mirrored=not args.no_mirror,
  )
  print(doctor.text(report, args.cases))
  if args.json:
    write_text(args.json, doctor.to_json(report))
  return int(report.has_errors or (args.strict and report.has_warnings))
