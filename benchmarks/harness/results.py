"""The file of results: what was measured on a device, case by case.

  {"device": {..}, "size": "full", "cases": {case: {"date", "commit", "versions",
   "load_average", "peak", "entries": [..], "error"?}}}

A case that is run again takes the place of what was there; the others stay.
"""

import datetime
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import machine

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = {
  "full": ROOT / "benchmarks" / "results",
  "small": ROOT / "runs" / "benchmarks",
}


def path_of(
  device: Mapping[str, Any], size: str, folder: pathlib.Path | None = None
) -> pathlib.Path:
  """Returns the file of a device; small runs have a folder of their own."""
  return (folder or FOLDERS[size]) / f"{device['slug']}.json"


def load(path: pathlib.Path) -> dict[str, Any]:
  """Reads the results, empty if there are none."""
  return json.loads(path.read_text()) if path.exists() else {"cases": {}}


def entries(path: pathlib.Path, case: str) -> list[dict[str, Any]]:
  """Returns what the results have of a case."""
  return load(path)["cases"].get(case, {}).get("entries", [])


def add_case(
  path: pathlib.Path,
  case: str,
  size: str,
  device: Mapping[str, Any],
  peak: Mapping[str, Any],
  entries: Sequence[Mapping[str, Any]],
  error: str = "",
) -> dict[str, Any]:
  """Writes a case into the file, whole or not at all.

  Args:
    path: of `path_of`.
    case: its module.
    size: of the run.
    device: of `machine.description`.
    peak: of `machine.peak`.
    entries: what was measured.
    error: what ended the case early.

  Returns:
    All results.
  """
  content = load(path)
  content |= {"device": {k: v for k, v in device.items() if k != "versions"}}
  content["size"] = size
  content["cases"][case] = {
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "commit": machine.commit(),
    "versions": device["versions"],
    "load_average": os.getloadavg()[0],  # above the cores: others were at work
    "peak": peak,
    "entries": list(entries),
    **({"error": error} if error else {}),
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_suffix(".part")
  unfinished.write_text(json.dumps(content, indent=1) + "\n")
  unfinished.replace(path)
  return content
