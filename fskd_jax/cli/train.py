"""fskd train: trains the package's detector on your labels, if that helps.

The labels may be of any tool that is read (docs/data.md). What was chosen is printed
and written to WORKDIR/config.py, which train.py takes. At the end stand the scores on
images that were not trained on: before and after training, and of copied coordinates.
Where training did not help, the detector is left as it was. After Ctrl-C or SIGTERM the
same command goes on.

  fskd train --data frames --workdir runs/own --minutes 10
"""

import argparse
import logging
import os

from fskd_jax.cli.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--data", required=True, help="file or folder of labels")
  parser.add_argument(
    "--workdir", required=True, help="new folder for the run, or one that was stopped"
  )
  parser.add_argument(
    "--unlabelled", help="folder of images without labels, to learn from as well"
  )
  parser.add_argument(
    "--minutes",
    type=positive,
    default=10.0,
    help="about how long to train (%(default)s)",
  )
  parser.add_argument(
    "--weights",
    help="detector to start from, a .safetensors file of fskd export; default: the "
    "package's",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Trains, and prints the scores before and after."""
  logging.basicConfig(format="%(message)s", level=logging.INFO)
  logging.getLogger("absl").setLevel(logging.WARNING)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  from fskd_jax.device import preemption
  from fskd_jax.own_labels import training

  with preemption.listening():
    outcome = training.train_on_labels(
      args.data,
      args.workdir,
      unlabelled=args.unlabelled,
      minutes=args.minutes,
      start=args.weights,
    )
  print(outcome)
  print(f"next: fskd predict --workdir {args.workdir} --query FRAMES --out FOUND")
  return 0
