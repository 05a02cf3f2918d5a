"""Peak memory of one side.

What a run takes beyond what was there before it: weights and inputs are not counted,
results are. On a CPU it is resident memory as the kernel reports it, with an
allocator that returns what is freed at once, in a process of its own:

  python -m benchmarks.harness.memory SIZE CASE PROBLEM SIDE VARIANT

On a GPU it is what XLA plans for the program, or PyTorch's own count.
"""

import ctypes
import gc
import importlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
from typing import Any

from benchmarks.harness.problem import Setup, Side
from benchmarks.opponents import pytorch

ROOT = pathlib.Path(__file__).parents[2]
_EAGER_FREE = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def in_process(
  setup: Setup, case: str, problem: str, side: str, variant: str
) -> dict[str, Any]:
  """Measures a side of a problem on the CPU in a new process.

  Returns:
    "peak_bytes" of the run, and "process_bytes", the peak of all that is resident
    with weights, inputs and libraries (CPU). "memory_error" instead if the process
    failed.
  """
  arguments = (setup.size, case, problem, side, variant)
  found = subprocess.run(
    [sys.executable, "-m", "benchmarks.harness.memory", *arguments],
    cwd=ROOT,
    env=os.environ | _EAGER_FREE,
    capture_output=True,
    text=True,
  )
  if found.returncode:
    last = found.stderr.strip().splitlines()[-1:]
    return {"memory_error": f"exit status {found.returncode}: {''.join(last)}"}
  return json.loads(found.stdout.splitlines()[-1])


def measure(side: Side, is_long: bool = False) -> dict[str, int]:
  """Runs a side once to load what it needs (unless it is long), and then measures."""
  if not is_long:
    side.run()
  side.before()
  gc.collect()
  _return_free_memory()
  _forget_peak()
  before = _status("VmRSS")
  side.run()
  after = _peak()
  return {"peak_bytes": max(after - before, 0), "process_bytes": after}


def on_gpu(side: Side) -> dict[str, int]:
  """Runs a side once more, or asks XLA, whose programs take all they need at once."""
  import torch

  if "xla_bytes" in side.cost:
    return {"peak_bytes": int(side.cost["xla_bytes"])}
  side.before()
  gc.collect()
  torch.cuda.reset_peak_memory_stats()
  before = torch.cuda.memory_allocated()
  side.run()
  return {"peak_bytes": torch.cuda.max_memory_allocated() - before}


def _return_free_memory() -> None:
  ctypes.CDLL("libc.so.6").malloc_trim(0)


def _forget_peak() -> None:
  """Resets the high-water mark of this process."""
  pathlib.Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
  """Reads a number of bytes that the kernel tells of this process."""
  text = pathlib.Path("/proc/self/status").read_text()
  found = re.search(rf"{field}:\s+(\d+) kB", text)
  if found is None:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return int(found[1]) * 1024


def _peak() -> int:
  return _status("VmHWM")


def main(size: str, case: str, name: str, side: str, variant: str) -> None:
  pytorch.use_all_cores()
  setup = Setup(size=size, device="cpu", repeats=1, seconds=0.0)
  module = importlib.import_module(f"benchmarks.cases.{case}")
  problem = next(p for p in module.problems(setup) if p.name == name)
  built = problem.sides[side][variant]()
  print(json.dumps(measure(built, problem.is_long)))


if __name__ == "__main__":
  main(*sys.argv[1:])
