"""Several training steps in one program (`lax.scan`) beside as many calls of one step.

`train.py` calls a step at a time, without waiting for it. What is measured is what one
program for several would save: in each run both sides do the same steps, on batches
that are on the device already, and wait for the last.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.cases import training
from benchmarks.harness.problem import Problem, Setup, Side
from benchmarks.opponents import ours
from configs import quickstart
from fskd_jax.config import Config
from fskd_jax.episode import EpisodeBatch

LIMIT = {"float32": 1e-2, "bfloat16": 0.3}
"""Of the losses of all steps: rounding grows from step to step (`training.LIMIT`)."""


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the step of the quickstart, and the one of the paper's network."""
  steps = 8 if setup.is_full else 3
  small = quickstart.get_config()
  if not setup.is_full:  # XLA's loops are slow on CPUs
    small.data.image_size = 32
  yield _problem("quickstart", small, "float32", steps)
  if setup.is_full:
    precision = setup.precisions[-1]
    lightweight = training.configuration(precision)
    yield _problem("lightweight", lightweight, precision, steps)


def _problem(name: str, cfg: Config, precision: str, steps: int) -> Problem:
  train = cfg.train
  about = f"{train.episodes_per_step} episodes, {cfg.data.image_size} px, {precision}"
  make = {"one program": one_program, "one by one": one_by_one}
  return Problem(
    name=f"{steps} steps, {name}, {about}",
    variables={"part": "scan", "steps": steps, "precision": precision},
    sides={
      side: {"": functools.partial(build, cfg, precision, steps)}
      for side, build in make.items()
    },
    limit=LIMIT[precision],
    items=steps * train.episodes_per_step * (train.shots + train.queries),
  )


def one_program(cfg: Config, precision: str, steps: int) -> Side:
  """Compiles all steps as one program."""
  step, state = ours.training_step(cfg)

  def scan(state: Any, batches: EpisodeBatch) -> Any:
    return jax.lax.scan(step, state, batches)

  arguments = state, _batches(cfg, steps)
  side = ours.compiled(scan, *arguments, precision=precision, donated=True)
  return side._replace(numbers=lambda values: ours.values_of(values, ["loss"]))


def one_by_one(cfg: Config, precision: str, steps: int) -> Side:
  """Compiles one step, of which a run makes several."""
  step, state = ours.training_step(cfg)
  stacked = _batches(cfg, steps)
  batches = [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(steps)]
  program, seconds, cost = ours.program(
    step, state, batches[0], precision=precision, donated=True
  )
  state, batches = jax.device_put((state, batches))

  def run() -> Any:
    nonlocal state
    losses = []
    for batch in batches:
      state, values = program(state, batch)
      losses.append(values["loss"])
    return jax.block_until_ready(losses)

  return Side(run, lambda losses: [np.asarray(losses, np.float32)], seconds, cost)


def _batches(cfg: Config, steps: int) -> EpisodeBatch:
  """Draws the batches of all steps, [steps b ...]."""
  train = cfg.train
  count = train.episodes_per_step
  drawn = ours.episodes(
    cfg.data.image_size,
    count=steps * count,
    shots=train.shots,
    queries=train.queries,
    keypoints=training.KEYPOINTS,
  )
  return jax.tree.map(lambda x: x.reshape(steps, count, *x.shape[1:]), drawn)
