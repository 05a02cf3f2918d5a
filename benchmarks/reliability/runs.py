"""Small trainings: how they are started, what they must leave, and one for all."""

import json
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks.reliability.trial import Failure, Place, Program, check, script

STEPS = 20

_FIELDS = {
  "data.images_per_species": 40,
  "data.image_size": 64,
  "model.small_widths": "8,8,8,8,16",
  "optim.warmup_steps": 5,
  "train.steps": STEPS,
  "train.log_every": 2,
  "train.checkpoint_every": 4,
  "train.validate_every": 100_000,
  "train.picture_every": 100_000,
  "train.validation_episodes": 4,
}


def flags(place: Place, workdir: pathlib.Path | str, **fields: Any) -> list[str]:
  """Returns flags of train.py: quickstart in small.

  Args:
    place: where.
    workdir: of the run.
    fields: of the configuration; `__` stands for the dot.
  """
  changed = {name.replace("__", "."): value for name, value in fields.items()}
  cache = {"data.cache_dir": place.common / "cache"}
  return [
    f"--config={place.tree / 'configs' / 'quickstart.py'}",
    *(f"--config.{k}={v}" for k, v in (_FIELDS | cache | changed).items()),
    f"--workdir={workdir}",
  ]


def trained(place: Place) -> pathlib.Path:
  """Returns the workdir of a whole run, trained when it is first asked for."""
  workdir = place.common / "run"
  if not (workdir / "whole").exists():
    done = script(place, "train.py", *flags(place, workdir))
    check(done.status == 0, f"cannot train: {done.text[-500:]}")
    (workdir / "whole").touch()
  return workdir


def lines(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Returns metrics.jsonl without what a clock measured."""
  text = (workdir / "metrics.jsonl").read_text().splitlines()
  clock = ("train/seconds", "train/images_per_second")
  return [{k: v for k, v in json.loads(x).items() if k not in clock} for x in text]


def check_same(workdir: pathlib.Path, expected: pathlib.Path) -> None:
  """Checks that two runs have the same metrics and the same weights, bit for bit."""
  found, theirs = lines(workdir), lines(expected)
  check(
    found == theirs, f"metrics.jsonl has {len(found)} of {len(theirs)} lines, or others"
  )
  check_equal(weights(workdir), weights(expected))


def weights(workdir: pathlib.Path) -> Any:
  """Returns the variables of the newest checkpoint."""
  from fskd_jax.training.checkpoint import CheckpointStore

  return CheckpointStore(workdir).restore_model().variables


def check_equal(tree: Any, expected: Any) -> None:
  """Checks that two trees of arrays are equal bit for bit."""
  import jax

  check(jax.tree.structure(tree) == jax.tree.structure(expected), "another structure")
  for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(expected)):
    same = np.asarray(x).tobytes() == np.asarray(y).tobytes()
    check(same, "weights differ from those of an uninterrupted run")


def wait_for(path: pathlib.Path, program: Program, seconds: float = 300) -> None:
  """Waits until a running training has written a file.

  Raises:
    Failure: it ended before, or takes too long.
  """
  end = time.time() + seconds
  while not path.exists():
    check(program.is_running, f"ended early: {program.text[-300:]}")
    if time.time() > end:
      program.kill()
      raise Failure(f"no {path.name} after {seconds:.0f} s")
    time.sleep(0.05)
