"""Trains and evaluates experiments; the one place that knows which tasks there are."""

import contextlib
import copy
import os
import pathlib
from collections.abc import Callable
from typing import Any

from fskd_jax import config
from fskd_jax.config import Config, keeping
from fskd_jax.data import fingerprint
from fskd_jax.data.feed import Feed
from fskd_jax.device import processes
from fskd_jax.few_shot import transfer
from fskd_jax.few_shot.task import FewShotTask
from fskd_jax.pose.task import PoseTask
from fskd_jax.prediction import search_evaluation
from fskd_jax.training import loop
from fskd_jax.training import workdir as workdirs
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.state import TrainState
from fskd_jax.training.task import Task


def make_task(cfg: Config) -> Task:
  """Returns the task of a valid configuration."""
  if cfg.task == "pose":
    return PoseTask(cfg)
  return FewShotTask(cfg, search_evaluation.searcher)


def compiled_step(cfg: Config) -> Callable[..., Any]:
  """Returns `loop.compiled_step`, kept for the next training of this experiment."""

  def make() -> Callable[..., Any]:
    settings = copy.deepcopy(cfg)
    return loop.compiled_step(make_task(settings), settings)

  return keeping.kept(("training step", cfg), make)


def train(
  cfg: Config,
  workdir: str | os.PathLike,
  profile_steps: str = "",
  feed: Feed | None = None,
) -> TrainState:
  """Trains, or resumes the training in `workdir`; see `training.loop.train`.

    cfg = load_config("configs/quickstart.py")
    state = fskd_jax.train(cfg, "runs/quickstart")

  Args:
    cfg: The experiment.
    workdir: Folder of the run, or an address gs:// or s3:// (`buckets.mirror`);
      created if it does not exist.
    profile_steps: Steps to profile into profile/ below the workdir, such as "100:110".
    feed: The data set of `cfg`, where it is open already.

  Returns:
    The state after the last step.

  Raises:
    ValueError: The configuration is wrong, or the workdir belongs to another one or
      is in use.
    FloatingPointError: The loss is not finite; the last checkpoint is kept.
  """
  _check(cfg)
  with workdirs.on_this_machine(workdir, is_training=True) as folder:
    task, step_fn = make_task(cfg), compiled_step(cfg)
    return loop.train(task, cfg, folder, profile_steps, step_fn, feed)


def evaluate(
  workdir: str | os.PathLike,
  *,
  data: str = "",
  change: Callable[[Config], Config] = lambda cfg: cfg,
) -> dict[str, Any]:
  """Evaluates the newest checkpoint of a run, and writes the results below it.

    results = fskd_jax.evaluate("runs/quickstart")

  With crops of another size than the run's it writes to WIDTHxHEIGHT below the workdir
  instead, and the run's own results and calibration stay.

  Args:
    workdir: Folder of the run, or its address in a bucket.
    data: Folder of another data set to evaluate on, see `few_shot.transfer`.
    change: Returns the configuration to use, given the run's own.

  Returns:
    The content of results.json.

  Raises:
    FileNotFoundError: There is no run.
    ValueError: The configuration is wrong, or a setting holds too little.
  """
  with workdirs.on_this_machine(workdir) as folder:
    return _evaluate(folder, data, change)


def _evaluate(
  workdir: pathlib.Path, data: str, change: Callable[[Config], Config]
) -> dict[str, Any]:
  opened = processes.together(lambda: CheckpointStore(workdir))
  with contextlib.closing(opened) as checkpoints:
    saved = checkpoints.restore_model()
  own = config.crop_size(config.from_dict(saved.config).data)
  cfg = change(config.from_dict(saved.config))
  _check(cfg)
  height, width = size = config.crop_size(cfg.data)
  # Confidence is calibrated for crops of one size, and that is the one in predictions.
  folder = workdir if size == own else workdir / f"{width}x{height}"
  found = saved.variables, saved.step, folder
  if data:
    return transfer.evaluate(cfg, data, *found, search_evaluation.searcher)
  return make_task(cfg).evaluate(*found)


def _check(cfg: Config) -> None:
  processes.check_same(lambda: fingerprint.of_program(cfg), "start all alike")
  config.validate(cfg)
