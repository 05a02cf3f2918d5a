"""Option `--out` of the plot commands."""

import argparse
import pathlib

from matplotlib.figure import Figure

from fskd_jax.files import write_picture


def add_out(parser: argparse.ArgumentParser) -> None:
  """Declares the argument `--out`."""
  parser.add_argument("--out", required=True, help="picture: .png, .jpg, .pdf, .svg")


def save(figure: Figure, out: str) -> int:
  """Writes a picture in the format of its suffix, prints its name, and returns 0.

  Raises:
    ValueError: The suffix is not that of a format.
    OSError: The picture cannot be written.
  """
  write_picture(pathlib.Path(out), figure)
  print(out)
  return 0
