"""Names of workdirs, two trainings on one, and readers beside a training."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, Program, Trial, check

_NAMES = (
  *("plain", "run[1]", "a\\b", "lr=[1e-3,2]", "a b", "run [old]", "a*b", "a?b", "["),
  *("]", "{a,b}", "run (2)", "a\nb", "a%2Fb", "größe", "a'b", "$HOME", "x" * 200),
)


def state(step: int) -> Any:
  """Returns a small training state."""
  from fskd_jax.training.state import TrainState

  return TrainState(
    step=np.asarray(step, np.int32),  # pyright: ignore[reportArgumentType]: as restored
    params={"a": {"kernel": np.full((4, 4), step, np.float32)}},
    batch_stats={"b": np.ones(3, np.float32)},
    opt_state=(np.zeros(2, np.float32),),
  )


def names(place: Place) -> Iterator[Trial]:
  """A checkpoint below a folder of each name: read back, or refused with a reason."""
  for number, name in enumerate(_NAMES[: None if place.is_full else 4]):
    for parts in ((name,), (name, "run")):

      def run(number=number, parts=parts) -> None:
        from fskd_jax.training.checkpoint import CheckpointStore

        folder = (place.work / f"{number}_{len(parts)}").joinpath(*parts)
        try:
          store = CheckpointStore(folder, keep=2)
          store.save(5, state(5), {"x": 1})
        except (ValueError, OSError) as error:
          check(
            parts[0] in str(error) or repr(parts[0])[1:-1] in str(error), str(error)
          )
          return
        saved = CheckpointStore(folder).restore_model()
        check(saved.step == 5, f"another step: {saved.step}")
        runs.check_equal(saved.variables["params"], state(5).params)

      yield Trial("/".join(parts)[:60], run)


def two_trainings(place: Place) -> Iterator[Trial]:
  """The same training twice at once, together or 5 s apart: one trains, one is told."""
  for delay in (0, 5) if place.is_full else (5,):

    def run(delay=delay) -> None:
      workdir = place.work / f"two_{delay}"
      # Long enough for the second to come while the first is there.
      words = runs.flags(place, workdir, train__steps=400, train__checkpoint_every=100)
      first = Program(place, "train.py", *words)
      time.sleep(delay)
      second = Program(place, "train.py", *words)
      both = [program.ended() for program in (first, second)]
      both.sort(key=lambda done: done.status)
      statuses = [done.status for done in both]
      check(statuses[0] == 0 and statuses[1] > 0, f"exits {statuses}")
      check("Traceback" not in both[1].text, f"traceback: {both[1].last[:200]}")
      check("disk full" not in both[1].last, f"wrong reason: {both[1].last[:200]}")
      steps = [line["step"] for line in runs.lines(workdir)]
      expected = list(range(2, 401, 2))
      check(sorted(set(steps)) == expected, f"{len(set(steps))} of 200 steps logged")
      check(steps == sorted(steps), "metrics.jsonl goes back")

    yield Trial(f"{delay} s apart", run)


_WRITER = """
import itertools, sys
from benchmarks.reliability.workdirs import state
from fskd_jax.training.checkpoint import CheckpointStore
store = CheckpointStore(sys.argv[1], keep=1)
for step in itertools.count(1):
  store.save(step, state(step), {"x": 1})
"""


def reading(place: Place) -> Iterator[Trial]:
  """Reads of the newest checkpoint while a writer keeps only one."""
  from fskd_jax.training.checkpoint import CheckpointStore

  folder = place.work / "read"
  writer = subprocess.Popen([sys.executable, "-P", "-c", _WRITER, str(folder)])
  while not any((folder / "checkpoints").glob("[0-9]")):
    check(writer.poll() is None, "the writer ended")
    time.sleep(0.05)

  def read() -> None:
    saved = CheckpointStore(folder).restore_model()
    runs.check_equal(saved.variables["params"], state(saved.step).params)

  try:
    for number in range(200 if place.is_full else 30):
      yield Trial(f"read {number}", read)
  finally:
    writer.kill()
    writer.wait()
