"""(h) From the start of train.py to its first step, with and without a warm cache.

The first start finds the persistent compilation cache empty, the second one full.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.cases import evaluation
from benchmarks.harness import runner
from benchmarks.harness.problem import Setup
from fskd_jax.data.creatures import dataset
from fskd_jax.training.writer import METRICS_FILE

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 600
"""After which a start has failed."""


def extra_entries(
  setup: Setup, entries: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
  """Yields an entry for every experiment."""
  del entries
  images = 50 if setup.is_full else 12
  dataset.rendered_folder(evaluation.CACHE, images)
  for experiment in ("quickstart", "lightweight") if setup.is_full else ("quickstart",):
    starts: dict[str, list[float]] = {"first_start": [], "second_start": []}
    for _ in range(2 if setup.is_full else 1):
      with tempfile.TemporaryDirectory() as cache:
        for number, seconds in enumerate(starts.values()):
          workdir = pathlib.Path(cache) / f"run{number}"
          seconds.append(first_step(experiment, images, workdir, pathlib.Path(cache)))
    yield {
      "case": "compilation",
      "problem": f"start of train.py to its first step, {experiment}",
      "variables": {"experiment": experiment},
      "values": {name: runner.summary(seconds) for name, seconds in starts.items()},
    }


def first_step(
  experiment: str, images: int, workdir: pathlib.Path, cache: pathlib.Path
) -> float:
  """Starts a training run, waits for the first line of its metrics, and ends it.

  Raises:
    RuntimeError: there is no first step.
  """
  log = workdir.with_suffix(".log")
  command = [
    *(sys.executable, "train.py", f"--config=configs/{experiment}.py"),
    *(f"--workdir={workdir}", "--config.train.log_every=1"),
    *(f"--config.data.images_per_species={images}", "--config.data.executor=resident"),
    *(f"--config.data.cache_dir={evaluation.CACHE}", "--config.train.backend=single"),
  ]
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache / "xla")}
  start = time.perf_counter()
  with log.open("w") as output:
    process = subprocess.Popen(
      command, cwd=ROOT, env=environment, stdout=output, stderr=output
    )
    try:
      while not _has_line(workdir / METRICS_FILE):
        if process.poll() is not None or time.perf_counter() - start > SECONDS:
          raise RuntimeError(f"train.py made no step: {log.read_text()[-2000:]}")
        time.sleep(0.01)
      return time.perf_counter() - start
    finally:
      process.terminate()
      process.wait()


def _has_line(path: pathlib.Path) -> bool:
  return path.exists() and "\n" in path.read_text()
