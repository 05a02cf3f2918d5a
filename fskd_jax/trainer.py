"""The training run: from a configuration and a folder to a trained network."""

import collections
import contextlib
import functools
import logging
import os
import pathlib
from typing import Any

import jax
import numpy as np
import optax
from PIL import Image

from fskd_jax import config, optim, parallel, processes, run_facts, steps
from fskd_jax.checkpoint import CheckpointStore
from fskd_jax.config import Config
from fskd_jax.curves_picture import draw_curves
from fskd_jax.data.episodes import train_index_batches
from fskd_jax.data.feed import Feed
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.metric_writer import METRICS_FILE, MetricWriter
from fskd_jax.models.detector import count_parameters
from fskd_jax.task import Task, make_task
from fskd_jax.train_log import TrainLog, recorded_seconds
from fskd_jax.workdir import local_path

_log = logging.getLogger(__name__)


def train(cfg: Config, workdir: str | os.PathLike) -> steps.TrainState:
  """Trains, or resumes the training that `workdir` holds.

  Writes checkpoints/, metrics.jsonl, TensorBoard events, pictures/ and curves.png
  below the workdir. A resumed run repeats the uninterrupted one bit for bit.

  Args:
    cfg: the experiment.
    workdir: made when missing; of the same experiment otherwise.

  Raises:
    ValueError: the configuration is wrong, or the workdir is of another one, an
      address, or in use by another training.
    OSError: the workdir cannot be written to.
    FloatingPointError: the loss is not finite; the last checkpoint is kept.
  """
  processes.check_same(lambda: run_facts.of_program(cfg), "start all alike")
  config.validate(cfg)
  _check_devices(cfg)
  workdir, settings = local_path(workdir), cfg.train
  with contextlib.closing(
    CheckpointStore(workdir, keep=settings.keep_checkpoints)
  ) as checkpoints:
    checkpoints.check_config(config.to_dict(cfg), config.may_change())
    place = functools.partial(parallel.replicate, backend=settings.backend)
    feed = Feed.open(cfg.data, place)
    task = make_task(cfg)
    sampler = task.sampler(feed)
    tx = optim.make_optimizer(cfg.optim, settings.steps, cfg.model.freeze_until)
    state = _first_state(cfg, task, tx, checkpoints)
    processes.check_same(
      lambda: run_facts.of_variables(int(state.step), _variables(state)),
      "is the workdir, or the file of model.pretrained, another one?",
    )
    _log.info("%s", _description(cfg, feed, state))

    step_fn = parallel.parallelize_training(task.train_step(tx), settings.backend)
    state = place(state)
    first, host, num_hosts = int(state.step), jax.process_index(), jax.process_count()
    indices = train_index_batches(first, settings.episodes_per_step, host, num_hosts)
    validator = task.validator(feed)
    task.check_evaluation(feed)
    with (
      feed.batches(
        sampler, indices, settings.episodes_per_step // num_hosts
      ) as batches,
      MetricWriter(workdir, first + 1) as writer,
      TrainLog(
        cfg,
        writer,
        first=first,
        seconds=recorded_seconds(workdir / METRICS_FILE),
        images_per_step=task.images_per_step,
      ) as log,
    ):
      for step, batch in zip(range(first + 1, settings.steps + 1), batches):
        state, metrics = step_fn(state, batch, feed.store)
        log.add(step, metrics)

        def due(every: int, step: int = step) -> bool:
          return step % every == 0 or step == settings.steps

        if validator.is_possible and due(settings.validate_every):
          log.flush()
          writer.scalars(step, validator.scores(state))
        if validator.is_possible and due(settings.picture_every):
          log.flush()
          pixels = validator.picture(state, f"step {step}")
          writer.image(step, "validation", pixels)
          _save(pixels, workdir / "pictures" / f"step_{step:07d}.png")
        if due(settings.checkpoint_every):
          # Last, so that a run killed at any time resumes with nothing left out.
          log.flush()  # stops the run when a number is not finite: never saved
          checkpoints.save(step, state, config.to_dict(cfg))
    if parallel.is_main_process():
      curves = draw_curves({workdir.name: workdir / METRICS_FILE})
      curves.savefig(workdir / "curves.png")
    return state


def _check_devices(cfg: Config) -> None:
  """Checks that the episodes of a step can be shared out among the devices.

  Raises:
    ValueError: they cannot; names a number that can.
  """
  episodes, single = cfg.train.episodes_per_step, cfg.train.backend == "single"
  devices = 1 if single else jax.device_count()
  counts = collections.Counter(device.process_index for device in jax.devices())
  if len({*counts.values()}) > 1:
    raise ValueError(f"devices by process {dict(counts)}: each must have equally many")
  contrasts = cfg.task == "few_shot" and cfg.loss.mfcl_weight > 0
  least = 2 if contrasts else 1
  fitting = devices * max(least, -(-episodes // devices))
  if episodes % devices:
    raise ValueError(
      f"train.episodes_per_step = {episodes} episodes do not divide among {devices} "
      f"devices: set train.episodes_per_step = {fitting}, or train.backend = 'single' "
      "for one device"
    )
  if episodes < least * devices:
    raise ValueError(
      f"train.episodes_per_step = {episodes} on {devices} devices: loss.mfcl_weight > "
      "0 contrasts episodes of the same device: set train.episodes_per_step = "
      f"{fitting}, two a device, or loss.mfcl_weight = 0"
    )


def _first_state(
  cfg: Config,
  task: Task,
  tx: optax.GradientTransformation,
  checkpoints: CheckpointStore,
) -> steps.TrainState:
  """Returns the newest checkpoint, or the state before the first step."""
  variables = task.init_variables()
  restored = checkpoints.restore_latest(steps.init_state(variables, tx))
  if restored is not None:
    state, step = restored
    _log.info("resuming after step %d of %d", step, cfg.train.steps)
    return state
  if cfg.model.pretrained:
    variables = processes.together(
      lambda: pretrained_variables(variables, cfg.model.pretrained, cfg.model)
    )
  return steps.init_state(variables, tx)


def _variables(state: steps.TrainState) -> dict[str, Any]:
  return {"params": state.params, "batch_stats": state.batch_stats}


def _description(cfg: Config, feed: Feed, state: steps.TrainState) -> str:
  sizes = ", ".join(
    f"{name} {len(instances)} of {len({i.species for i in instances})} species"
    for name, instances in feed.splits._asdict().items()
  )
  return (
    f"{cfg.name}: {count_parameters(state.params):,} parameters; "
    f"{len(feed.types.base)} base, {len(feed.types.novel)} novel, "
    f"{len(feed.types.auxiliary.knots)} auxiliary keypoint types; instances: {sizes}; "
    f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  )


def _save(pixels: np.ndarray, path: pathlib.Path) -> None:
  if parallel.is_main_process():
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
