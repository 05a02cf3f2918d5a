"""fskd data stamps: composes pictures of the stamps of Tux Paint, with keypoints."""

import argparse

from fskd_jax.data.stamps.dataset import write_stamps


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument(
    "--source",
    default="/usr/share/tuxpaint/stamps",
    help="folder of the stamps, of Debian's tuxpaint-stamps-default (%(default)s)",
  )
  parser.add_argument("--out", required=True, help="new folder")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Composes the pictures, and prints their numbers."""
  animals, objects = write_stamps(args.source, args.out)
  print(f"{args.out}: {animals} pictures of animals, {objects} of other things")
  return 0
