"""fskd data game: renders animals, people and things of 0 A.D., with keypoints."""

import argparse

from fskd_jax.data.game.dataset import write_game


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument(
    "--source",
    default="/usr/share/games/0ad/mods/public/public.zip",
    help="archive of the game, of Debian's 0ad-data (%(default)s)",
  )
  parser.add_argument("--out", required=True, help="new folder")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Renders the pictures, and prints their numbers."""
  models, kinds = write_game(args.source, args.out)
  print(f"{args.out}: {models} pictures of single models, {kinds} of two kinds")
  return 0
