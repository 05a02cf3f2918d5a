"""Measures fskd_jax beside PyTorch on this machine.

  python -m benchmarks --size full                       # all cases
  python -m benchmarks --size small --cases training,mds
  python -m benchmarks --cases training --only "8 episodes, 192 px"
  python -m benchmarks --cases gpu --minutes 25          # on a GPU; again: the rest
  python -m benchmarks --table                           # of what was measured

Writes benchmarks/results/<device>.json after every problem, and plots beside it. Ends
with 1 if something failed, or two sides that must give the same numbers do not.
docs/performance.md says what is measured and how.
"""

import argparse
import importlib
import importlib.util
import math
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any

CASES = (
  *("training", "inference", "mds", "evaluation", "feeding"),
  *("devices", "compilation", "transpose", "prediction", "folder", "encoders"),
)
GPU = "gpu"
"""The case that holds what is measured on a GPU; it is run where it is named."""

_SECONDS = {"small": 3.0, "full": 15.0}
_REPEATS = {"small": 3, "full": 9}


def main() -> int:
  parser = argparse.ArgumentParser(
    "python -m benchmarks", description=(__doc__ or "").splitlines()[0]
  )
  parser.add_argument("--size", choices=tuple(_SECONDS), default="full")
  parser.add_argument("--repeats", type=int, help="rounds of a problem, at most")
  parser.add_argument("--cases", default=",".join(CASES), help="comma-separated")
  parser.add_argument(
    "--minutes",
    type=float,
    help="begin nothing that takes longer, and measure only what the results lack",
  )
  parser.add_argument("--only", default="", help="problems with this in their name")
  parser.add_argument("--out", type=pathlib.Path, help="folder of the results")
  parser.add_argument("--table", action="store_true", help="only print the tables")
  args = parser.parse_args()
  cases = args.cases.split(",")
  unknown = sorted(set(cases) - {*CASES, GPU})
  if unknown:
    parser.error(f"unknown cases {unknown}; there are {', '.join((*CASES, GPU))}")
  if importlib.util.find_spec("torch") is None:
    parser.error("PyTorch is missing: .venv/bin/pip install 'torch==2.13.0+cpu'")
  if "encoders" in cases and not importlib.util.find_spec("efficientnet_lite_pytorch"):
    parser.error("encoders: .venv/bin/pip install --no-deps efficientnet_lite_pytorch")
  if "encoders" in cases and not importlib.util.find_spec("transformers"):
    parser.error("encoders: .venv/bin/pip install transformers")
  with _environment() as cache:
    return _run(args, cases, pathlib.Path(cache))


def _environment() -> Any:
  """Sets what must be set before JAX is imported; returns a folder for its cache.

  The cache saves the processes that measure memory from compiling again. It is
  emptied before every problem, so that the compilation that is timed is one.
  """
  folder = tempfile.TemporaryDirectory(prefix="fskd_jax_benchmarks_")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
  os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"  # it is emptied, too
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch is on the device, too
  os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0")
  return folder


def _run(args: argparse.Namespace, cases: list[str], cache: pathlib.Path) -> int:
  import jax

  jax.devices()  # before PyTorch: JAX wants no cuDNN older than its own
  from benchmarks.harness import machine, pictures, results, schedule, tables
  from benchmarks.harness.problem import Setup
  from benchmarks.opponents import pytorch

  deadline = schedule.Deadline(60 * args.minutes if args.minutes else math.inf)
  pytorch.use_all_cores()
  device = machine.description()
  path = results.path_of(device, args.size, args.out)
  if args.table:
    if not path.is_file():
      print(f"{path}: nothing was measured on this device yet", file=sys.stderr)
      return 1
    print(tables.markdown(results.load(path)))
    return 0
  repeats = args.repeats or _REPEATS[args.size]
  setup = Setup(args.size, machine.device_kind(), repeats, _SECONDS[args.size])
  peak = machine.peak(setup)
  failed = left_out = 0
  for case in cases:
    known = results.entries(path, case) if args.minutes else []
    entries, error, start = known, "", time.perf_counter()
    try:
      found = _measured(case, args.only, known, setup, peak, cache, deadline)
      for entry, entries in found:
        if entry.get("error") != schedule.BEGUN:
          _show(case, entry, time.perf_counter() - start)
        # Here, too: a case takes minutes, and may be stopped.
        results.add_case(path, case, args.size, device, peak, entries)
    except Exception as problem:  # the other cases are still worth measuring
      traceback.print_exc()
      error = schedule.described(problem)
    content = results.add_case(path, case, args.size, device, peak, entries, error)
    pictures.draw(content, path)
    failed += bool(error) + sum(map(schedule.has_failed, entries))
    left_out += sum("left_out" in entry for entry in entries)
  print(path, tables.markdown(results.load(path)), sep="\n\n")
  if left_out:
    print(f"{left_out} problems are left: run the same command again")
  return int(failed > 0)


def _measured(
  case: str,
  only: str,
  known: list[dict[str, Any]],
  setup: Any,
  peak: Any,
  cache: pathlib.Path,
  deadline: Any,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
  """Yields what was measured of a case, each time with all there is of it so far."""
  from benchmarks.harness import machine, runner, schedule

  module = importlib.import_module(f"benchmarks.cases.{case}")

  def measure(problem: Any) -> dict[str, Any]:
    for child in cache.iterdir():
      shutil.rmtree(child) if child.is_dir() else child.unlink()
    return runner.measure(problem, setup, case, peak) | {"commit": machine.commit()}

  entries = known
  if hasattr(module, "problems"):
    problems = list(module.problems(setup))
    for entry, entries in schedule.measured(problems, known, measure, deadline, only):
      yield entry, entries
  if hasattr(module, "extra_entries") and not only and not deadline.reason(0):
    for entry in module.extra_entries(setup, entries):
      others = [x for x in entries if x["problem"] != entry["problem"]]
      entries = [*others, entry]
      yield entry, entries


def _show(case: str, entry: dict[str, Any], seconds: float) -> None:
  """Prints a line of progress."""
  from benchmarks.harness import tables

  found = "; ".join(
    f"{name} {tables.seconds(side['seconds']['median'])}"
    if "seconds" in side
    else f"{name} {tables.why_not(side)}"
    for name, side in entry.get("sides", {}).items()
  )
  ratios = ", ".join(f"{x['median']:.2f}" for x in entry.get("ratios", {}).values())
  found += f" (ratios {ratios})" if ratios else ""
  found = found or (
    tables.values(entry["values"]) if "values" in entry else tables.why_not(entry)
  )
  print(f"{seconds:6.0f} s  {case}: {entry['problem']}: {found}", flush=True)


if __name__ == "__main__":
  sys.exit(main())
