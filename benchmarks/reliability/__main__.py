"""Tries what users, disks and other machines do wrong, and counts what held.

  python -m benchmarks.reliability --size full
  python -m benchmarks.reliability --class images --class keys
  python -m benchmarks.reliability --tree ../older --out before.json
  python -m benchmarks.reliability --table before.json after.json

A trial holds if the result is right, or if one line names the cause. Lists what failed,
and puts it with the counts into a JSON file, where other classes stay as they are.
docs/reliability.md has the counts.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.reliability.classes import CLASSES

_ROOT = pathlib.Path(__file__).parents[2]
_SECONDS = {"small": 1800, "full": 7200}
"""For one class."""


def main() -> int:
  """Returns 1 if a trial failed, or could not be made."""
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
  parser.add_argument(
    "--out", type=pathlib.Path, default=_ROOT / "runs" / "reliability.json"
  )
  parser.add_argument("--work", type=pathlib.Path, help="scratch folder, kept")
  parser.add_argument(
    "--table",
    nargs="+",
    type=pathlib.Path,
    metavar="JSON",
    help="only print the counts of files, side by side",
  )
  args = parser.parse_args()
  if args.table:
    print(table([json.loads(path.read_text()) for path in args.table]))
    return 0
  return _run(args)


def _run(args: argparse.Namespace) -> int:
  tree = args.tree.resolve()
  found = json.loads(args.out.read_text()) if args.out.exists() else {}
  names, failed = args.classes or [*CLASSES], False
  with _scratch(args.work) as folder:
    for name in names:
      options = {"tree": str(tree), "is_full": args.size == "full", "seed": args.seed}
      counts = _try(name, options, pathlib.Path(folder), args.size)
      found[name] = {"commit": _commit(tree), "size": args.size} | counts
      failed |= bool(counts["failures"] or counts["note"])
      print(_row(name, found[name]), flush=True)
      args.out.parent.mkdir(parents=True, exist_ok=True)
      args.out.write_text(json.dumps(found, indent=1) + "\n")
  print(f"\n{table([found])}")
  return int(failed)


def _scratch(folder: pathlib.Path | None) -> Any:
  """Returns a context that gives a folder: a new one, removed at the end, or this."""
  if folder is None:
    return tempfile.TemporaryDirectory(prefix="fskd_reliability_")
  folder.mkdir(exist_ok=True)
  return contextlib.nullcontext(folder.resolve())


def table(files: Sequence[dict[str, Any]]) -> str:
  """Returns the counts of files as a table in Markdown, each with its commit."""
  head = "| Class |" + " Commit | Tried | Held | Failed |" * len(files)
  rows = [head, "|---|" + "---|---|---|---|" * len(files)]
  for name, (text, _) in CLASSES.items():
    if any(name in found for found in files):
      cells = [_cells(found.get(name)) for found in files]
      rows.append(f"| {text} | {' | '.join(cells)} |")
  return "\n".join(rows)


def _cells(counts: dict[str, Any] | None) -> str:
  if counts is None:
    return " | | | "
  tried, held = counts["tried"], counts["held"]
  return f"{counts['commit']} | {tried} | {held} | {tried - held}"


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
  shutil.rmtree(places["work"])
  places["work"].mkdir()
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
