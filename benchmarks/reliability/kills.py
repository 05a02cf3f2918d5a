"""Kills programs at random moments, starts them again, and compares what they leave.

  python -m benchmarks.reliability.kills --seconds 800 --work FOLDER --record FILE
  python -m benchmarks.reliability.kills --table FILE

Trainings with each executor and backend, trainings that prepare their data or save at
every step, evaluations, predictions of images and of a video get SIGKILL or SIGTERM at
a random moment of their length, one process of several alone, and are started again
until they end by themselves. What they leave must then be that of the same program when
nothing interrupts it: metrics, weights and files of results bit for bit. A line of JSON
per run is added to the record, so that pieces add up; --table prints the counts.
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.reliability import nursery
from benchmarks.reliability.killed_programs import SETTINGS, Setting
from benchmarks.reliability.trial import Failure, Place, Program, check

_KILLS = 10
"""The largest number of kills of one run."""

_COLD = 0.04
"""The share of programs that are started by a new interpreter."""

_SHARE = 0.7
"""The latest moment of a kill, as a share of the length of a whole run; a run that
resumes is shorter."""

_PATIENCE = 400
"""Seconds after which a program counts as hanging."""

_SIGNALS = (signal.SIGKILL, signal.SIGTERM)
_ENDED = {0, 75, 143, -signal.SIGKILL, -signal.SIGTERM}
"""Exit statuses: done, another one was lost, stopped, and killed."""

_ABORTED = {-signal.SIGABRT, -signal.SIGSEGV}
"""Also allowed where process 0 was killed, which JAX and Gloo may notice before the
watch; they end the others by these signals."""

_NOT_STARTED = "not started or not reached in"
"""The others end with 2, not 75, where one was killed before it joined them."""


class Kill(NamedTuple):
  """A kill: the signal, which process got it, when, and the statuses of all."""

  signal: str
  process: int
  seconds: float
  statuses: list[int]


def main() -> int:
  """Returns 1 if something was lost."""
  parser = argparse.ArgumentParser("python -m benchmarks.reliability.kills")
  parser.add_argument("--seconds", type=float, default=800, help="after which to end")
  parser.add_argument("--work", type=pathlib.Path, help="folder that pieces share")
  parser.add_argument("--record", type=pathlib.Path, help="file of JSON lines")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument(
    "--only", nargs="+", default=[""], help="settings whose name contains one of these"
  )
  parser.add_argument("--table", type=pathlib.Path, help="only print a record's counts")
  args = parser.parse_args()
  if args.table:
    print(table([json.loads(line) for line in args.table.read_text().splitlines()]))
    return 0
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  rng, place = random.Random(args.seed), _place(args.work.resolve(), args.seed)
  nursery.prepare()
  end = time.monotonic() + args.seconds
  chosen = [s for s in SETTINGS if any(word in s.name for word in args.only)]
  lost = False
  while time.monotonic() < end:
    setting = rng.choices(chosen, [setting.weight for setting in chosen])[0]
    kills: list[Kill] = []
    failure = None
    try:
      _trial(place, setting, rng, kills)
    except Failure as error:
      failure, lost = str(error), True
    line = {"name": setting.name, "kills": [k._asdict() for k in kills]}
    line |= {"seed": args.seed, "failure": failure}
    print(json.dumps(line), flush=True)
    with args.record.open("a") as record:
      record.write(json.dumps(line) + "\n")
  return int(lost)


def table(lines: Sequence[dict[str, Any]]) -> str:
  """Returns the counts of a record as a table in Markdown."""
  counts: dict[str, collections.Counter[str]] = {}
  for line in lines:
    for name in (line["name"], "all"):
      count = counts.setdefault(name, collections.Counter())
      count["runs"] += 1
      count["lost"] += line["failure"] is not None
      count.update(kill["signal"] for kill in line["kills"])
  rows = ["| Killed | SIGKILL | SIGTERM | Runs | Lost |", "|---|---|---|---|---|"]
  for name in sorted(counts, key=lambda n: (n == "all", n)):
    cells = [counts[name][key] for key in ("SIGKILL", "SIGTERM", "runs", "lost")]
    rows.append(f"| {name} | {' | '.join(map(str, cells))} |")
  return "\n".join(rows)


def _place(scratch: pathlib.Path, seed: int) -> Place:
  work, common = scratch / f"work_{seed}", scratch / "common"
  for folder in (work, common):
    folder.mkdir(parents=True, exist_ok=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
  os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles sooner
  tree = pathlib.Path(__file__).parents[2]
  return Place(tree, work, common, is_full=True)


def _trial(
  place: Place, setting: Setting, rng: random.Random, kills: list[Kill]
) -> None:
  """Kills a program until it ends by itself, and compares; notes the signals sent."""
  with (place.common / "lock").open("w") as lock:  # pieces may run side by side
    fcntl.flock(lock, fcntl.LOCK_EX)
    whole, longest = _whole(place, setting)
  out = place.work / "out"
  shutil.rmtree(out, ignore_errors=True)
  for printed in place.work.glob("printed_*"):
    printed.unlink()
  setting.prepare(place, out)
  while len(kills) < _KILLS:
    programs = _started(place, setting, out, rng.random() < _COLD)
    begun, moment = time.monotonic(), rng.uniform(0, _SHARE * longest)
    chosen, process = rng.choice(_SIGNALS), rng.randrange(setting.processes)
    while time.monotonic() < begun + moment and all(p.is_running for p in programs):
      time.sleep(0.01)
    if not all(p.is_running for p in programs):
      _finished(programs, "ended by itself")
      break
    programs[process].send(chosen)
    statuses = _statuses(programs)
    kills.append(Kill(chosen.name, process, round(moment, 2), statuses))
    told = " / ".join(program.text[-300:] for program in programs)
    allowed = _ENDED if process else _ENDED | _ABORTED
    allowed |= {2} if _NOT_STARTED in told else set()
    known = {*statuses} <= allowed
    check(known, f"after {chosen.name} of {process} ended with {statuses}: {told}")
    if {*statuses} == {0}:
      kills.pop()  # it was done already
      break
  else:
    _finished(_started(place, setting, out, False), "started again")
  nursery.checked(place.work, lambda: setting.compare(out, whole))


def _whole(place: Place, setting: Setting) -> tuple[pathlib.Path, float]:
  """Returns what the program leaves if nothing interrupts it, and its seconds."""
  whole = place.common / setting.name.replace(" ", "_").replace(",", "")
  length = whole.with_suffix(".seconds")
  seconds = 0.0
  for _ in range(0 if length.exists() else 2):  # the first one compiles
    shutil.rmtree(whole, ignore_errors=True)
    setting.prepare(place, whole)
    begun = time.monotonic()
    _finished(_started(place, setting, whole, False), "the run without kills")
    seconds = time.monotonic() - begun
  if seconds:
    length.write_text(str(seconds))
  return whole, float(length.read_text())


def _started(
  place: Place, setting: Setting, out: pathlib.Path, is_cold: bool
) -> list[Any]:
  def start(path: pathlib.Path, words: Sequence[str]) -> Any:
    if is_cold:
      return Program(place, str(path.relative_to(place.tree)), *words)
    return nursery.program(place.work, path, words)

  path, words = setting.command(place, out)
  if setting.processes == 1:
    return [start(path, words)]
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  common = ("--distributed", f"--coordinator=localhost:{port}")
  count = f"--processes={setting.processes}"
  numbers = range(setting.processes)
  own = [[*words, *common, count, f"--process={number}"] for number in numbers]
  return [start(path, words) for words in own]


def _finished(programs: Sequence[Any], name: str) -> None:
  statuses = _statuses(programs)
  told = " / ".join(program.text[-400:] for program in programs)
  check({*statuses} == {0}, f"{name}: ended with {statuses}: {told}")


def _statuses(programs: Sequence[Any]) -> list[int]:
  """Returns the exit statuses; kills what hangs, which is a failure."""
  try:
    return [program.ended(_PATIENCE).status for program in programs]
  finally:
    for program in programs:
      program.kill()


if __name__ == "__main__":
  sys.exit(main())
