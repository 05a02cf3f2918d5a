"""Argument types of several commands."""

import argparse


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
