"""Option `--out` of the plot commands."""

import argparse
import pathlib

from matplotlib.figure import Figure

from fskd_jax.files import written_whole


def add_out(parser: argparse.ArgumentParser) -> None:
  """Declares the argument `--out`."""
  parser.add_argument("--out", required=True, help="picture: .png, .jpg, .pdf, .svg")


def save(figure: Figure, out: str) -> int:
  """Writes a picture in the format of its suffix, prints its name, and returns 0.

  Raises:
    FileNotFoundError: The folder of `out` does not exist.
    ValueError: The suffix is not that of a format.
  """
  path = pathlib.Path(out)
  with written_whole(path) as unfinished:
    figure.savefig(unfinished, format=path.suffix.removeprefix(".") or "png")
  print(out)
  return 0
