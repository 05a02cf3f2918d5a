"""Kinds of arguments that several commands take."""

import argparse


def probability(text: str) -> float:
  """Parses a number from 0 to 1.

  Raises:
    argparse.ArgumentTypeError: it is none.
  """
  try:
    value = float(text)
  except ValueError:
    value = -1.0
  if not 0 <= value <= 1:  # nan is neither
    raise argparse.ArgumentTypeError(f"{text!r}: expected a probability, 0 to 1")
  return value
