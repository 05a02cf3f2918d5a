"""Reads the lines of metrics.jsonl."""

import pathlib
from typing import Any

from fskd_jax.files import parse_line, read_entries


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads one dictionary per line, such as {"step": 10, "train/loss": 0.5}.

  A value that was not finite is None. Lines damaged by a crash or a bad disk are
  skipped with a warning.

  Raises:
    FileNotFoundError: The file does not exist.
  """
  return read_entries(path, _parsed)


def _parsed(raw: bytes) -> dict[str, Any] | None:
  line = parse_line(raw, {"step": int})
  if line is None:
    return None
  numbers = all(type(value) in (int, float, type(None)) for value in line.values())
  return line if numbers else None
