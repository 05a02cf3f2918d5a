"""Runs one long training of small steps, and tells whether anything grows.

  python -m benchmarks.reliability.endurance --steps 20000 --workdir FOLDER

Validation, pictures and checkpoints come every `steps / 40` steps. Prints a row for
each tenth of the run: memory, open files, threads, and quartiles of the time of a step,
by the clock and by the processor (which other programs disturb less).
"""

import argparse
import gc
import os
import pathlib
import sys
import threading
import time
from typing import Any

import numpy as np

_TREE = pathlib.Path(__file__).parents[2]


def main() -> int:
  """Returns 0."""
  parser = argparse.ArgumentParser("python -m benchmarks.reliability.endurance")
  parser.add_argument("--steps", type=int, default=20_000)
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  args = parser.parse_args()
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  from fskd_jax import experiment
  from fskd_jax.training import loop

  every = args.steps // 40
  watched = _watching(loop.Records, args.steps // 10)
  setattr(loop, "Records", watched)  # noqa: B010
  experiment.train(_config(args.workdir, args.steps, every), args.workdir)
  return 0


def _config(workdir: pathlib.Path, steps: int, every: int) -> Any:
  from fskd_jax.training.runs import load_config

  cfg = load_config(str(_TREE / "configs" / "quickstart.py"))
  fields = {
    "data": {"images_per_species": 12, "image_size": 32},
    "model": {"small_widths": (4, 4, 4, 8, 8)},
    "eval": {"queries": 1},
    "train": {"steps": steps, "log_every": 50, "validation_episodes": 4},
  }
  fields["train"] |= dict.fromkeys(
    ("validate_every", "picture_every", "checkpoint_every"), every
  )
  fields["data"]["cache_dir"] = str(workdir.parent / "cache")
  for section, values in fields.items():
    for name, value in values.items():
      setattr(getattr(cfg, section), name, value)
  return cfg


def _watching(base: type, part: int) -> type:
  """Returns a class of records that prints a row every `part` steps."""

  class Watching(base):
    """Records that measure the time from step to step."""

    clock: list[float] = []
    processor: list[float] = []
    last = (0.0, 0.0)

    def after_step(self, step: int, state: Any, metrics: Any) -> None:
      now = (time.perf_counter(), time.process_time())
      if self.last[0]:
        self.clock.append(now[0] - self.last[0])
        self.processor.append(now[1] - self.last[1])
      super().after_step(step, state, metrics)
      self.last = (time.perf_counter(), time.process_time())
      if step % part == 0:
        print(_row(step, self.clock, self.processor), flush=True)
        self.clock.clear()
        self.processor.clear()

  print("| step | MB | open files | threads | step, ms | processor, ms |")
  print("|---|---|---|---|---|---|")
  return Watching


def _row(step: int, clock: list[float], processor: list[float]) -> str:
  gc.collect()
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  files = len(os.listdir("/proc/self/fd"))
  quartiles = [
    " / ".join(f"{1e3 * q:.2f}" for q in np.percentile(times, (25, 50, 75)))
    for times in (clock, processor)
  ]
  counts = (step, pages * 4096 // 2**20, files, threading.active_count(), *quartiles)
  return f"| {' | '.join(map(str, counts))} |"


if __name__ == "__main__":
  sys.exit(main())
