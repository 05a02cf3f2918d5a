"""Trains and evaluates experiments; the one place that knows which tasks there are."""

import contextlib
import os
from typing import Any

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.data import fingerprint
from fskd_jax.device import processes
from fskd_jax.few_shot.task import FewShotTask
from fskd_jax.pose.task import PoseTask
from fskd_jax.training import loop
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.state import TrainState
from fskd_jax.training.task import Task


def make_task(cfg: Config) -> Task:
  """Returns the task of a valid configuration."""
  return PoseTask(cfg) if cfg.task == "pose" else FewShotTask(cfg)


def train(cfg: Config, workdir: str | os.PathLike) -> TrainState:
  """Trains, or resumes the training in `workdir`; see `training.loop.train`.

  Raises:
    ValueError: The configuration is wrong, or the workdir belongs to another one.
    FloatingPointError: The loss is not finite; the last checkpoint is kept.
  """
  processes.check_same(lambda: fingerprint.of_program(cfg), "start all alike")
  config.validate(cfg)
  return loop.train(make_task(cfg), cfg, workdir)


def evaluate(workdir: str | os.PathLike, cfg: Config | None = None) -> dict[str, Any]:
  """Evaluates the newest checkpoint of a run in every setting.

  Args:
    workdir: Folder of the run; results are written to `workdir`/eval.
    cfg: Replaces the run's own configuration, as far as evaluation reads it.

  Returns:
    The content of results.json.

  Raises:
    FileNotFoundError: There is no run.
    ValueError: The configuration is wrong, or a setting holds too little.
  """
  with contextlib.closing(CheckpointStore(workdir)) as checkpoints:
    saved = checkpoints.restore_model()
  cfg = cfg or config.from_dict(saved.config)
  config.validate(cfg)
  return make_task(cfg).evaluate(saved.variables, saved.step, workdir)
