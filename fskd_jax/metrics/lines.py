"""Reads the lines of metrics.jsonl."""

import logging
import pathlib
from typing import Any

from fskd_jax.files import parse_line, read_lines

_log = logging.getLogger(__name__)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads one dictionary per line, such as {"step": 10, "train/loss": 0.5}.

  A value that was not finite is None. Lines damaged by a crash or a bad disk are
  skipped with a warning.

  Raises:
    FileNotFoundError: The file does not exist.
  """
  raw = read_lines(path)
  parsed = [_parsed(line) for line in raw]
  damaged = [number for number, line in enumerate(parsed, 1) if line is None]
  if damaged:
    _log.warning(
      "%s: %d of %d lines are damaged and left out, the first is line %d",
      path,
      len(damaged),
      len(raw),
      damaged[0],
    )
  return [line for line in parsed if line is not None]


def _parsed(raw: bytes) -> dict[str, Any] | None:
  line = parse_line(raw, {"step": int})
  if line is None:
    return None
  numbers = all(type(value) in (int, float, type(None)) for value in line.values())
  return line if numbers else None
