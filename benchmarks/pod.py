"""A simulated pod: processes of one CPU device each, their traffic and time of a step.

  python -m benchmarks.pod

Runs the training step of configs/quickstart.py on 1, 2, 4 and 8 processes that share
the same episodes, in a network of their own (Linux: `unshare`, `ip`), whose counters
tell what they send. Beside that stand the all-reduces of the compiled program, and what
a ring would send: 2 (n - 1) / n of their bytes for each process. The expected time is
that of one process, which has all episodes, plus that of a sum of as many bytes alone:
so it holds where the processes share the same cores.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
from typing import Any

_TREE = pathlib.Path(__file__).parents[1]
_EPISODES, _RUNS = 16, 7
_COUNTS = ("backend", "processes", "all_reduces", "megabytes", "ring", "sent", "input")
_TIMES = ("sum", "step", "expected")


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser("python -m benchmarks.pod")
  parser.add_argument("--processes", type=int, nargs="+", default=[2, 4, 8])
  parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
  parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.worker:
    backend, *numbers = args.worker
    return _work(backend, *map(int, numbers))
  if not args.inside:
    inside = 'ip link set lo up && exec "$@"'
    here = [sys.executable, "-m", "benchmarks.pod", *sys.argv[1:], "--inside"]
    os.execvp("unshare", ["unshare", "-rn", "sh", "-c", inside, "sh", *here])
  print(
    "| backend | processes | all-reduces | MB | a ring would send, MB | sent by a "
    "process, MB | input of all, MB | sum alone, ms | step, ms | expected, ms |"
  )
  print(f"|{'---|' * (len(_COUNTS) + len(_TIMES))}")
  alone = _run("single", 1)
  _print(alone)
  for backend in ("pmap", "shard_map"):
    for count in args.processes:
      _print(_run(backend, count) | {"alone": alone["step"]})


def _print(row: dict[str, Any]) -> None:
  count = row["processes"]
  row["ring"] = 2 * (count - 1) / count * row["megabytes"]
  row["expected"] = row.get("alone", row["step"]) + row["sum"]
  cells = [row[name] for name in (*_COUNTS, *_TIMES)]
  texts = [f"{x:.2f}" if isinstance(x, float) else str(x) for x in cells]
  print(f"| {' | '.join(texts)} |", flush=True)


def _run(backend: str, count: int) -> dict[str, Any]:
  """Runs the processes, and returns their row."""
  from benchmarks.harness import collectives

  with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
    free.bind(("localhost", 0))
    numbers = (count, free.getsockname()[1], _RUNS)
    free.close()
    dump = f"--xla_dump_to={folder} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*"
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # what is read is not dumped
    programs = [
      subprocess.Popen(
        [
          *(sys.executable, "-m", "benchmarks.pod", "--worker", backend),
          *map(str, (index, *numbers)),
        ],
        cwd=_TREE,
        env=environment | ({} if index else {"XLA_FLAGS": dump}),
        stdout=subprocess.PIPE,
        text=True,
      )
      for index in range(count)
    ]
    printed = [program.communicate()[0] for program in programs]
    failed = [number for number, p in enumerate(programs) if p.returncode]
    if failed:
      raise RuntimeError(f"{backend}: processes {failed} of {count} failed")
    # Of all programs of the process the step is by far the largest.
    texts = pathlib.Path(folder).glob("*after_optimizations.txt")
    step = max(texts, key=lambda path: path.stat().st_size)
    found = collectives.summary(step.read_text())
  row = {"backend": backend, "processes": count, "all_reduces": found["all_reduces"]}
  row["megabytes"] = found["bytes"] / 1e6
  return row | json.loads(printed[0].splitlines()[-1])


def _work(backend: str, index: int, count: int, port: int, runs: int) -> None:
  """Is one process; the first one prints what it measured."""
  import jax

  from benchmarks.cases import devices
  from fskd_jax.config import TrainConfig
  from fskd_jax.device import parallel, processes, survey, watch

  if count > 1:
    # On a machine with other work they start at very different times.
    limits = TrainConfig(join_seconds=600, silent_seconds=600, lag_seconds=600)
    parallel.start_processes(f"localhost:{port}", count, index, limits)
  episodes = _EPISODES // count
  found = devices.measure(backend, "quickstart", "running", episodes, runs)
  processes.gather("")
  size = found["gradient_bytes"] // 1_000_000 or 1
  seconds = survey.seconds_of_sum(size) if count > 1 else 0.0
  if jax.process_index() == 0:
    row = {"step": 1e3 * found["seconds"]["min"], "sum": 1e3 * seconds}
    row["sent"] = found["sent_bytes"] / count / 1e6
    row["input"] = found["input_bytes"] * count / 1e6
    print(json.dumps(row))
  processes.gather("")
  watch.leave()


if __name__ == "__main__":
  main()
