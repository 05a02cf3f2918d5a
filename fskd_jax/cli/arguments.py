"""Arguments of several commands."""

import argparse


def add_detector(parser: argparse.ArgumentParser) -> None:
  """Declares --workdir and --weights, read by `detector_path`."""
  source = parser.add_mutually_exclusive_group()
  source.add_argument(
    "--workdir",
    help="folder of a run; default, without --weights: the detector of the package",
  )
  source.add_argument("--weights", help=".safetensors file of fskd export")


def detector_path(args: argparse.Namespace) -> str | None:
  """Returns what `load` takes: the path given, or None for the package's detector."""
  return args.workdir or args.weights


def probability(text: str) -> float:
  """Parses a number from 0 to 1.

  Raises:
    argparse.ArgumentTypeError: The text is not such a number.
  """
  try:
    value = float(text)
  except ValueError:
    value = -1.0
  if not 0 <= value <= 1:  # nan compares false
    raise argparse.ArgumentTypeError(f"{text!r}: expected a probability, 0 to 1")
  return value


def positive(text: str) -> float:
  """Parses a number above 0.

  Raises:
    argparse.ArgumentTypeError: The text is not such a number.
  """
  try:
    value = float(text)
  except ValueError:
    value = 0.0
  if not 0 < value < float("inf"):
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
  return value
