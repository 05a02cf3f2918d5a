"""Several processes of one training that differ, start cold, or get lost."""

import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.reliability import runs
from benchmarks.reliability.trial import (
  Ended,
  Failure,
  Place,
  Program,
  Trial,
  check,
)


def differing(place: Place) -> Iterator[Trial]:
  """Process 1 has another field: both must end, and say which one."""
  cases = {
    "seed": {"train__seed": 7},
    "learning_rate": {"optim__learning_rate": 1e-3},
    "steps": {"train__steps": 24},
    "images_per_species": {"data__images_per_species": 15},
  }
  for name, fields in list(cases.items())[: None if place.is_full else 1]:

    def run(name=name, fields=fields) -> None:
      both = _both(place, place.work / name, fields)
      check(all(done.status != 0 for done in both), f"exits {[d.status for d in both]}")
      text = "".join(done.text for done in both)
      check("Traceback" not in text, f"traceback: {both[1].last[:200]}")
      check(any(name in done.text for done in both), f"{name}: {both[1].last[:200]}")

    yield Trial(name, run)

  def workdirs() -> None:
    both = _both(place, place.work / "a", {}, place.work / "b")
    check(all(done.status != 0 for done in both), f"exits {[d.status for d in both]}")
    text = "".join(done.text for done in both)
    check("Traceback" not in text, f"traceback: {both[1].last[:200]}")

  if place.is_full:
    runs.trained(place)  # which fills the cache
    yield Trial("workdir not shared", workdirs)


def cold_cache(place: Place) -> Iterator[Trial]:
  """Two processes prepare the same data set at once: both must train."""
  for executor in ("tfdata", "resident")[: 2 if place.is_full else 1]:

    def run(executor=executor) -> None:
      fields = {
        "data__executor": executor,
        "data__cache_dir": place.work / f"cache_{executor}",
      }
      both = _both(place, place.work / executor, fields, same=True)
      check(
        all(done.status == 0 for done in both),
        " / ".join(f"exit {done.status}: {done.last[:120]}" for done in both),
      )

    yield Trial(executor, run)


def lost(place: Place) -> Iterator[Trial]:
  """A process that never starts, or is killed: the other must say so within 2 min."""

  def never() -> None:
    port = _port()
    alone = Program(place, "train.py", *_flags(place, place.work / "never", port, 0))
    (done,) = _wait([alone], 130)
    _check_told(done, "process 1")

  yield Trial("process 1 never starts", never)
  for number in (0, 1):

    def killed(number=number) -> None:
      workdir, port = place.work / f"killed_{number}", _port()
      fields = {"train__steps": 20_000, "train__checkpoint_every": 1000}
      both = [
        Program(place, "train.py", *_flags(place, workdir, port, i, **fields))
        for i in range(2)
      ]
      runs.wait_for(workdir / "metrics.jsonl", both[0])
      time.sleep(3)
      both[number].send(signal.SIGKILL)
      done = _wait(both, 130)
      by_jax = {-signal.SIGABRT, -signal.SIGSEGV} if number == 0 else set()
      if done[1 - number].status not in by_jax:  # docs/pods.md: it may notice first
        _check_told(done[1 - number], f"process {number}")

    yield Trial(f"process {number} killed", killed)


def _check_told(done: Ended, word: str) -> None:
  check(done.status > 0, f"ended by signal {-done.status}: {done.last[:150]}")
  check(word in done.last, f"does not name {word}: {done.last[:150]}")


def _both(
  place: Place, workdir: Any, fields: dict[str, Any], other: Any = None, same=False
) -> list[Ended]:
  port = _port()
  words = [
    _flags(place, workdir, port, 0, **(fields if same else {})),
    _flags(place, other or workdir, port, 1, **fields),
  ]
  return _wait([Program(place, "train.py", *w) for w in words], 300)


def _wait(programs: list[Program], seconds: float) -> list[Ended]:
  """Waits for all; kills them if one hangs."""
  end = time.time() + seconds
  while any(p.is_running for p in programs) and time.time() < end:
    time.sleep(0.2)
  hanging = [i for i, p in enumerate(programs) if p.is_running]
  if hanging:
    for program in programs:
      program.kill()
    raise Failure(f"processes {hanging} hang: still there after {seconds:.0f} s")
  return [program.ended() for program in programs]


def _flags(place: Place, workdir: Any, port: int, number: int, **fields: Any) -> list:
  return [
    *runs.flags(place, workdir, train__backend="pmap", **fields),
    *("--distributed", f"--coordinator=127.0.0.1:{port}", "--processes=2"),
    f"--process={number}",
  ]


def _port() -> int:
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]
