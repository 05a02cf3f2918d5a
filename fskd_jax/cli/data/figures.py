"""fskd data figures: draws persons, hands, faces, insects and fish, with keypoints."""

import argparse

from fskd_jax.data.figures.dataset import KINDS, write_figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--out", required=True, help="new folder")
  parser.add_argument(
    "--per-kind", type=int, default=400, help="pictures of each kind (%(default)s)"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Draws the pictures, and prints their number."""
  count = write_figures(args.out, per_kind=args.per_kind)
  print(f"{args.out}: {count} pictures of {', '.join(KINDS)}")
  return 0
