"""Trainings that are killed or interrupted, then started again."""

import random
import signal
import time
from collections.abc import Iterator

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, Program, Trial, check, script


def killed(place: Place) -> Iterator[Trial]:
  """SIGKILL at random times of a run, which must end as if nothing had happened."""
  rng = random.Random(place.seed)
  for number in range(4 if place.is_full else 1):
    workdir = place.work / f"killed_{number}"
    delays = [rng.uniform(0, 2) for _ in range(3)]

    def run(workdir=workdir, delays=delays) -> None:
      for delay in delays:
        process = Program(place, "train.py", *runs.flags(place, workdir))
        runs.wait_for(workdir / "metrics.jsonl", process)
        time.sleep(delay)
        process.kill()
      done = script(place, "train.py", *runs.flags(place, workdir))
      check(done.status == 0, f"does not resume: {done.last[:200]}")
      runs.check_same(workdir, runs.trained(place))

    yield Trial(f"3 times after {', '.join(f'{d:.1f} s' for d in delays)}", run)


def interrupted(place: Place) -> Iterator[Trial]:
  """Ctrl-C and SIGTERM: a checkpoint of this very step, one line, then a resume."""
  for name in ("SIGINT", "SIGTERM"):

    def run(name=name) -> None:
      workdir = place.work / name
      fields = {"train__steps": 400, "train__checkpoint_every": 400}
      words = runs.flags(place, workdir, **fields)
      process = Program(place, "train.py", *words)
      runs.wait_for(workdir / "metrics.jsonl", process)
      process.send(getattr(signal, name))
      done = process.ended(120)
      check("Traceback" not in done.text, f"traceback: {done.last[:200]}")
      expected = 128 + getattr(signal, name)
      check(done.status == expected, f"exit {done.status}, not {expected}")
      saved = [p for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
      check(saved, "the steps since the last checkpoint are lost")
      check(script(place, "train.py", *words).status == 0, "does not resume")
      steps = [line["step"] for line in runs.lines(workdir)]
      check(set(steps) == {*range(2, 401, 2)}, "steps are missing in metrics.jsonl")

    yield Trial(name, run)
