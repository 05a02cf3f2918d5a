"""fskd data check: finds labels that are probably wrong.

Each object is predicted from other labelled ones. Doubted are labels that fit better
exchanged (left and right), at the place of another keypoint, twice at one place, or far
from where they are expected. OUT gets doubts.json and doubts.png, the worst first.

  fskd data check --data labels --out doubts
"""

import argparse
import pathlib

from tqdm import tqdm

from fskd_jax.cli.arguments import add_detector, detector_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--data", help="file or folder of labels; default: the run's")
  add_detector(parser)
  parser.add_argument(
    "--out", type=pathlib.Path, required=True, help="folder for the results"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints the doubts."""
  from fskd_jax.own_labels import doubts

  found = doubts.check(
    args.data,
    args.out,
    detector=detector_path(args),
    progress=lambda x: tqdm(x, "predicting", disable=None),
  )
  for doubt in found:
    print(
      f"{doubt.probability:4.0%}  {doubt.image}, object {doubt.object}: {doubt.text}"
    )
  print(f"{len(found)} labels to look at: {args.out}")
  return 0
