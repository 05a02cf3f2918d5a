"""Records of which machine trained which steps: a line for every start of a run."""

import datetime
import json
import pathlib
from typing import Any

from fskd_jax.device import machine
from fskd_jax.files import parse_line, read_entries, write_text

FILE = "starts.jsonl"

_KINDS = {
  "step": int,
  "time": str,
  "devices": dict,
  "platform": str,
  "processes": int,
  "processor": str,
  "cores": int,
  "versions": dict,
}
"""Fields of every line, with their types."""


def record(workdir: pathlib.Path, first: int, backend: str) -> None:
  """Adds a start to `<workdir>/starts.jsonl`; for process 0.

  Starts whose steps are trained again are removed, as lines of metrics.jsonl are. So
  each one that is left trained the steps until the next one.

  Args:
    workdir: The folder of the run; it exists.
    first: The number of steps done before.
    backend: As for `machine.description`.
  """
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  entry = {"step": first, "time": now, **machine.description(backend)}
  kept = [start for start in read(workdir) if start["step"] < first]
  lines = (json.dumps(start) + "\n" for start in (*kept, entry))
  write_text(workdir / FILE, "".join(lines))


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Reads the starts of a run in order, [] where it recorded none.

  Each has "step", the number of steps done before, "time" in UTC, and what
  `machine.description` returned. Damaged lines are skipped with a warning.
  """
  path = workdir / FILE
  if not path.is_file():
    return []
  return read_entries(path, lambda line: parse_line(line, _KINDS))
