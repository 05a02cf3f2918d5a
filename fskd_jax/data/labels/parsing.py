"""Parses numbers and ids for the readers of JSON and XML."""

import math
from typing import Any

from fskd_jax.messages import shown


def number(value: Any, where: str) -> float:
  """Returns a finite number below 1e9 from a number or text.

  Raises:
    ValueError: The value is not such a number.
  """
  try:
    parsed = plain_float(value) if isinstance(value, str) else float(value)
  except (TypeError, ValueError, OverflowError):
    parsed = math.nan
  if isinstance(value, bool) or not abs(parsed) < 1e9:  # nan compares false
    raise ValueError(f"{where} is {shown(value)}, expected a finite number below 1e9")
  return parsed


def plain_float(text: str) -> float:
  """Parses a number, which may be NaN or infinite.

  Raises:
    ValueError: The text is not a number, or has digits that only Python reads (1_0, or
      digits outside ASCII).
  """
  if "_" in text or not text.isascii():
    raise ValueError(f"{shown(text)} is no number")
  return float(text)


def whole_number(text: str) -> int | None:
  """Returns the number written in up to 15 ASCII digits, or None for other texts."""
  text = text.strip()
  return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def numbered(count: int) -> tuple[str, ...]:
  """Returns the names of keypoints that have none: "1", "2", ..."""
  return tuple(str(number) for number in range(1, count + 1))


def identity(value: Any) -> str | None:
  """Returns a group or id as text; None stays None.

  Raises:
    ValueError: The value is neither text nor number.
  """
  if not isinstance(value, str | int | float | None):
    raise ValueError(f"a group or id is {shown(value)}, expected a text or number")
  return None if value is None else str(value)


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
  """Returns an image size, or None unless both are whole numbers above 0."""
  try:
    sides = number(width, "width"), number(height, "height")
  except ValueError:
    return None
  whole = all(side.is_integer() and 0 < side < 1e9 for side in sides)
  return (int(sides[0]), int(sides[1])) if whole else None
