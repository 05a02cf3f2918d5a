"""Measures fskd_jax beside PyTorch on this machine.

  python -m benchmarks --size full                       # all cases
  python -m benchmarks --size small --cases training,mds
  python -m benchmarks --cases training --only "8 episodes, 384 px"
  python -m benchmarks --table                           # of what was measured

Writes benchmarks/results/<device>.json after every case, and plots beside it. Ends
with 1 if two sides that must give the same numbers do not. docs/performance.md says
what is measured and how.
"""

import argparse
import importlib
import importlib.util
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
_SECONDS = {"small": 3.0, "full": 15.0}
_REPEATS = {"small": 3, "full": 9}


def main() -> int:
  parser = argparse.ArgumentParser(
    "python -m benchmarks", description=(__doc__ or "").splitlines()[0]
  )
  parser.add_argument("--size", choices=tuple(_SECONDS), default="full")
  parser.add_argument("--repeats", type=int, help="rounds of a problem, at most")
  parser.add_argument("--cases", default=",".join(CASES), help="comma-separated")
  parser.add_argument("--only", default="", help="problems with this in their name")
  parser.add_argument("--out", type=pathlib.Path, help="folder of the results")
  parser.add_argument("--table", action="store_true", help="only print the tables")
  args = parser.parse_args()
  cases = args.cases.split(",")
  unknown = sorted(set(cases) - set(CASES))
  if unknown:
    parser.error(f"unknown cases {unknown}; there are {', '.join(CASES)}")
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
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch is on the device, too
  os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0")
  return folder


def _run(args: argparse.Namespace, cases: list[str], cache: pathlib.Path) -> int:
  from benchmarks.harness import machine, pictures, results, tables
  from benchmarks.harness.problem import Setup
  from benchmarks.opponents import pytorch

  pytorch.use_all_cores()
  device = machine.description()
  path = results.path_of(device, args.size, args.out)
  if args.table:
    print(tables.markdown(results.load(path)))
    return 0
  repeats = args.repeats or _REPEATS[args.size]
  setup = Setup(args.size, machine.device_kind(), repeats, _SECONDS[args.size])
  peak = machine.peak(setup)
  failed = False
  for case in cases:
    entries, error, start = [], "", time.perf_counter()
    try:
      for entry in _entries(case, args.only, setup, peak, cache):
        entries.append(entry)
        _show(case, entry, time.perf_counter() - start)
        # Here, too: a case takes minutes, and may be stopped.
        results.add_case(path, case, args.size, device, peak, entries, error)
    except Exception as problem:  # the other cases are still worth measuring
      traceback.print_exc()
      error, failed = f"{type(problem).__name__}: {problem}", True
    content = results.add_case(path, case, args.size, device, peak, entries, error)
    pictures.draw(content, path)
  print(path)
  return int(failed)


def _entries(
  case: str, only: str, setup: Any, peak: Any, cache: pathlib.Path
) -> Iterator[dict[str, Any]]:
  """Measures the problems of a case, and then what else it has."""
  from benchmarks.harness import runner

  module = importlib.import_module(f"benchmarks.cases.{case}")
  entries = []
  if hasattr(module, "problems"):
    for problem in module.problems(setup):
      if only not in problem.name:
        continue
      for child in cache.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
      entries.append(runner.measure(problem, setup, case, peak))
      yield entries[-1]
  if hasattr(module, "extra_entries") and not only:
    yield from module.extra_entries(setup, entries)


def _show(case: str, entry: dict[str, Any], seconds: float) -> None:
  """Prints a line of progress."""
  from benchmarks.harness import tables

  found = "; ".join(
    f"{name} {tables.seconds(side['seconds']['median'])}"
    for name, side in entry.get("sides", {}).items()
    if "seconds" in side
  )
  ratios = ", ".join(f"{x['median']:.2f}" for x in entry.get("ratios", {}).values())
  found += f" (ratios {ratios})" if ratios else ""
  found = found or tables.values(entry["values"])
  print(f"{seconds:6.0f} s  {case}: {entry['problem']}: {found}", flush=True)


if __name__ == "__main__":
  sys.exit(main())
