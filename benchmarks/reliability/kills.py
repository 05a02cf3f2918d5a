"""Kills programs at random moments, starts them again, and compares what they leave.

  python -m benchmarks.reliability.kills --seconds 600 --processes 1 2

Trainings (a fresh data cache, feeding, saving and validation included) and evaluations
get SIGKILL or SIGTERM, one process of several alone, and are started again until they
end by themselves. Metrics, weights and results must then be those of runs that nothing
interrupted: bit for bit with one process, to rounding with several. Prints a line per
run and the counts.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Failure, Place, Program, check

_KILLS = 4
"""The largest number of kills of one run."""

_SIGNALS = (signal.SIGKILL, signal.SIGTERM)
_ENDED = {0, 75, 143, -signal.SIGKILL, -signal.SIGTERM}
"""Exit statuses: done, another one was lost, stopped, and killed."""

_FIELDS = {"train__validate_every": 10, "train__backend": "shard_map"}


def main() -> int:
  """Returns 1 if something was lost."""
  parser = argparse.ArgumentParser("python -m benchmarks.reliability.kills")
  parser.add_argument("--seconds", type=float, default=600, help="after which to end")
  parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
  parser.add_argument(
    "--kinds", nargs="+", choices=_STARTS, default=[*_STARTS], help="what is killed"
  )
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  counts: collections.Counter[str] = collections.Counter()
  rng, begun = random.Random(args.seed), time.monotonic()
  with tempfile.TemporaryDirectory(prefix="fskd_kills_") as scratch:
    place = _place(pathlib.Path(scratch))
    whole = {n: _whole(place, n, args.kinds) for n in args.processes}
    longest = time.monotonic() - begun
    print(f"runs that nothing interrupted: {longest:.0f} s", flush=True)
    number = 0
    while time.monotonic() - begun < args.seconds:
      processes = args.processes[number % len(args.processes)]
      kind = args.kinds[number // len(args.processes) % len(args.kinds)]
      number += 1
      try:
        kills = _trial(place, kind, processes, whole[processes], rng, number)
      except Failure as failure:
        counts["lost"] += 1
        print(f"{kind}, {processes} processes: LOST: {failure}", flush=True)
        continue
      counts["runs"] += 1
      for name in kills:
        counts[f"{kind}, {processes} processes, {name}"] += 1
      print(f"{kind}, {processes} processes: resumed after {kills}", flush=True)
  print(json.dumps(counts, indent=1))
  return int(counts["lost"] > 0)


def _place(scratch: pathlib.Path) -> Place:
  for name in ("work", "common"):
    (scratch / name).mkdir()
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
  tree = pathlib.Path(__file__).parents[2]
  return Place(tree, scratch / "work", scratch / "common", is_full=True)


def _whole(place: Place, processes: int, kinds: Sequence[str]) -> pathlib.Path:
  """Returns the workdir of a run that nothing interrupts, evaluated if need be."""
  workdir = place.common / f"whole_{processes}"
  for kind in dict.fromkeys(("train", *kinds)):
    codes = _wait(_STARTS[kind](place, workdir, processes))
    check(codes == {0}, f"the run without kills ended with {codes}")
  return workdir


def _trial(
  place: Place,
  kind: str,
  processes: int,
  whole: pathlib.Path,
  rng: random.Random,
  number: int,
) -> list[str]:
  """Kills a run until it ends by itself, and compares it; returns the signals sent."""
  workdir, start = place.work / f"run_{number}", _STARTS[kind]
  if kind == "evaluate":
    shutil.copytree(whole, workdir)
    shutil.rmtree(workdir / "eval")
  kills: list[str] = []
  while len(kills) < _KILLS:
    programs = start(place, workdir, processes)
    deadline = time.monotonic() + rng.uniform(2, 25)
    while time.monotonic() < deadline and all(p.is_running for p in programs):
      time.sleep(0.1)
    if not all(p.is_running for p in programs):
      check(_wait(programs) == {0}, f"ended by itself: {programs[0].text[-300:]}")
      break
    chosen = rng.choice(_SIGNALS)
    rng.choice(programs).send(chosen)
    codes = _wait(programs)
    check(codes <= _ENDED, f"after {chosen.name} ended with {codes}")
    if codes != {0}:  # otherwise it was done already
      kills.append(chosen.name)
  codes = _wait(start(place, workdir, processes))
  check(codes == {0}, f"started again it ended with {codes}")
  _compare(workdir, whole, processes, kind)
  shutil.rmtree(workdir)
  return kills


def _training(place: Place, workdir: pathlib.Path, processes: int) -> list[Program]:
  return _programs(place, "train.py", processes, runs.flags(place, workdir, **_FIELDS))


def _evaluation(place: Place, workdir: pathlib.Path, processes: int) -> list[Program]:
  words = [f"--workdir={workdir}", "--config.eval.episodes=16"]
  words.append("--config.eval.search_episodes=0")
  return _programs(place, "evaluate.py", processes, words)


def _programs(
  place: Place, name: str, processes: int, words: Sequence[str]
) -> list[Program]:
  if processes == 1:
    return [Program(place, name, *words)]
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  common = ("--distributed", f"--coordinator=localhost:{port}")
  numbers = [(f"--processes={processes}", f"--process={n}") for n in range(processes)]
  return [Program(place, name, *words, *common, *own) for own in numbers]


def _wait(programs: Sequence[Program]) -> set[int]:
  """Returns the exit statuses; kills what hangs, which is a failure."""
  try:
    return {program.ended(300).status for program in programs}
  finally:
    for program in programs:
      program.kill()


def _compare(
  workdir: pathlib.Path, whole: pathlib.Path, processes: int, kind: str
) -> None:
  if kind == "evaluate":
    found, expected = (w / "eval" / "results.json" for w in (workdir, whole))
    check(found.read_bytes() == expected.read_bytes(), "results.json differs")
    return
  steps = [[line["step"] for line in runs.lines(w)] for w in (workdir, whole)]
  check(steps[0] == steps[1], f"lines of metrics.jsonl: {steps[0]}, not {steps[1]}")
  if processes == 1:
    runs.check_same(workdir, whole)


_STARTS = {"train": _training, "evaluate": _evaluation}


if __name__ == "__main__":
  sys.exit(main())
