"""Common parts of training and adapting: the time of a step, the folder of a run."""

import contextlib
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

from fskd_jax import config, experiment
from fskd_jax.buckets import copies
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import recipe
from fskd_jax.training import loop
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.state import TrainState

_TIMED = 6  # steps, after the first, which compiles


def new_run(workdir: pathlib.Path) -> None:
  """Checks that a folder holds no run.

  Raises:
    ValueError: It holds one.
  """
  if (workdir / "checkpoints").exists():
    raise ValueError(f"{workdir} holds a run already; name a new folder")


def lasting(path: str | os.PathLike | None) -> str:
  """Returns the path of data for a run, which is used from other folders, too.

  No path is "".
  """
  if not path:
    return ""
  return os.fspath(path) if copies.is_address(path) else os.path.abspath(path)


def seconds_per_step(cfg: Config, feed: Feed, state: TrainState) -> float:
  """Returns the time of a step on this machine, of a few that are forgotten."""
  times = []

  def after_step(step: int, state: TrainState, metrics: Mapping[str, Any]) -> None:
    jax.block_until_ready(metrics)
    times.append(time.perf_counter())

  cfg = recipe.with_steps(cfg, 1 + _TIMED)
  loop.fit(experiment.make_task(cfg), feed, state, cfg, after_step=after_step)
  return (times[-1] - times[0]) / (len(times) - 1)


def variables_of(state: TrainState) -> dict[str, Any]:
  """Returns the params and batch_stats of a state."""
  return {"params": state.params, "batch_stats": state.batch_stats}


def keep(cfg: Config, state: TrainState, step: int, workdir: pathlib.Path) -> None:
  """Makes a state the newest checkpoint of a run."""
  with contextlib.closing(CheckpointStore(workdir, keep=1)) as checkpoints:
    checkpoints.save(step, state, config.to_dict(cfg))
