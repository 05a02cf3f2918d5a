"""fskd adapt: adapts a detector to 1 to 50 labelled images, if that helps.

The labelled images stay the support of fskd predict. In turns some of them are left out
and predicted, by the support alone and by the adapted detector; where adapting is no
sure gain, the run holds the detector as it was.

  fskd adapt --data labels --workdir runs/adapted --minutes 5
"""

import argparse
import logging
import os

from fskd_jax.cli.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--data", required=True, help="file or folder of labels")
  parser.add_argument("--workdir", required=True, help="new folder for the run")
  parser.add_argument(
    "--unlabelled", help="folder of images without labels, to learn from as well"
  )
  parser.add_argument(
    "--minutes",
    type=positive,
    default=3.0,
    help="about how long it may take (%(default)s)",
  )
  parser.add_argument(
    "--weights",
    help="detector to start from, a run or a .safetensors file of fskd export; "
    "default: the package's",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Adapts, and prints the scores before and after."""
  logging.basicConfig(format="%(message)s", level=logging.WARNING)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  from fskd_jax.own_labels import adapting

  outcome = adapting.adapt(
    args.data,
    args.workdir,
    unlabelled=args.unlabelled,
    minutes=args.minutes,
    start=args.weights,
  )
  print(outcome)
  print(f"next: fskd predict --workdir {args.workdir} --query FRAMES --out FOUND")
  return 0
