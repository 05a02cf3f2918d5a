"""Tries what users, disks and other machines do wrong, and counts what held.

  python -m benchmarks.reliability --size full
  python -m benchmarks.reliability --class images --class keys
  python -m benchmarks.reliability --tree ../older --out older.json

A trial holds if the result is right, or if one line names the cause. Prints a table,
lists what failed, and writes both as JSON. docs/reliability.md has the counts.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.reliability.classes import CLASSES

_ROOT = pathlib.Path(__file__).parents[2]
_SECONDS = {"small": 1800, "full": 7200}
"""For one class."""


def main() -> int:
  """Returns 1 if a trial failed."""
  parser = argparse.ArgumentParser(
    "python -m benchmarks.reliability",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--size", choices=tuple(_SECONDS), default="small")
  parser.add_argument(
    "--class",
    dest="classes",
    action="append",
    choices=tuple(CLASSES),
    metavar="NAME",
    help=f"may be repeated; default: all of {', '.join(CLASSES)}",
  )
  parser.add_argument("--tree", type=pathlib.Path, default=_ROOT, help="what is tried")
  parser.add_argument("--seed", type=int, default=0, help="of random damages")
  parser.add_argument("--out", type=pathlib.Path, default="reliability.json")
  args = parser.parse_args()
  tree = args.tree.resolve()
  found: dict[str, Any] = {"commit": _commit(tree), "size": args.size, "classes": {}}
  with tempfile.TemporaryDirectory(prefix="fskd_reliability_") as folder:
    for name in args.classes or CLASSES:
      options = {"tree": str(tree), "is_full": args.size == "full", "seed": args.seed}
      found["classes"][name] = _try(name, options, pathlib.Path(folder), args.size)
      print(_row(name, found["classes"][name]), flush=True)
      args.out.write_text(json.dumps(found, indent=1) + "\n")
  print(f"\n{table(found)}")
  return int(any(counts["failures"] for counts in found["classes"].values()))


def table(found: dict[str, Any]) -> str:
  """Returns the counts as a table in Markdown."""
  head = f"{found['commit']}, {found['size']}\n\n| Class | Tried | Held | Failed |"
  rows = [
    f"| {CLASSES[name][0]} | {counts['tried']} | {counts['held']} | "
    f"{counts['tried'] - counts['held']} |"
    for name, counts in found["classes"].items()
  ]
  return "\n".join([head, "|---|---|---|---|", *rows])


def _row(name: str, counts: dict[str, Any]) -> str:
  lines = [f"{name}: {counts['held']} of {counts['tried']} held"]
  lines += [f"  {trial}: {why}" for trial, why in counts["failures"].items()]
  return "\n".join(lines) + (f"\n  {counts['note']}" if counts["note"] else "")


def _try(
  name: str, options: dict[str, Any], folder: pathlib.Path, size: str
) -> dict[str, Any]:
  """Runs a class in a process that imports `fskd_jax` from the tree."""
  places = {"work": folder / name, "common": folder / "common"}
  links = folder / "links"
  for place in (*places.values(), links):
    place.mkdir(exist_ok=True)
  if not (links / "fskd_jax").exists():
    (links / "fskd_jax").symlink_to(pathlib.Path(options["tree"]) / "fskd_jax")
  options = options | {key: str(place) for key, place in places.items()}
  environment = os.environ | {
    "PYTHONPATH": f"{links}:{_ROOT}",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
  }
  command = [sys.executable, "-P", "-m", "benchmarks.reliability.worker", name]
  begun, note = time.time(), ""
  log = folder / f"{name}.log"
  with log.open("w") as errors:
    worker = subprocess.Popen(
      [*command, json.dumps(options)],
      stdout=(output := (folder / f"{name}.jsonl").open("w")),
      stderr=errors,
      env=environment,
      cwd=places["work"],
    )
    try:
      status = worker.wait(_SECONDS[size])
    except subprocess.TimeoutExpired:
      worker.kill()
      status = worker.wait()
  output.close()
  tried = [json.loads(x) for x in (folder / f"{name}.jsonl").read_text().splitlines()]
  if status:
    note = f"the class ended early ({status}): {log.read_text()[-300:]}"
  failures = {t["trial"]: t["failure"] for t in tried if t["failure"] is not None}
  return {
    "tried": len(tried),
    "held": sum(t["failure"] is None for t in tried),
    "seconds": round(time.time() - begun),
    "failures": failures,
    "note": note,
  }


def _commit(tree: pathlib.Path) -> str:
  command = ["git", "-C", str(tree), "describe", "--always", "--dirty"]
  return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
  sys.exit(main())
