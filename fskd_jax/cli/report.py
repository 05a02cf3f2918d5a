"""fskd report: a run on one HTML page, and its model card.

report.html holds its pictures and opens anywhere: hardware and time, data and licences,
curves, scores of every kind and keypoint with their intervals, calibration, best and
worst episodes, configuration. model_card.md has what belongs beside published weights.

  fskd report runs/quickstart
"""

import argparse
import pathlib

from fskd_jax.files import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("run_folder", metavar="RUN", help="folder of a run")
  parser.add_argument(
    "--out", type=pathlib.Path, metavar="DIR", help="default: the folder of the run"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes report.html and model_card.md."""
  from fskd_jax.analysis.run_report import page
  from fskd_jax.analysis.run_report.collect import collect

  found = collect(args.run_folder)
  out = args.out or found.workdir
  for name, text in (
    ("report.html", page.page(found)),
    ("model_card.md", page.card(found)),
  ):
    write_text(out / name, text)
    print(out / name)
  return 0
