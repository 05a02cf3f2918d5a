"""Training loop: from a task, a configuration and a folder to a trained network."""

import collections
import contextlib
import functools
import logging
import os
from typing import Any

import jax
import optax

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.data import fingerprint
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import train_index_batches
from fskd_jax.device import parallel, processes
from fskd_jax.files import write_picture
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.models.build import count_parameters
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.training import optim
from fskd_jax.training import state as train_state
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.log import TrainLog, recorded_seconds
from fskd_jax.training.task import Task
from fskd_jax.training.workdir import local_path
from fskd_jax.training.writer import METRICS_FILE, MetricWriter

_log = logging.getLogger(__name__)


def train(
  task: Task, cfg: Config, workdir: str | os.PathLike
) -> train_state.TrainState:
  """Trains, or resumes the training that `workdir` holds.

  Writes checkpoints/, metrics.jsonl, TensorBoard events, pictures/ and curves.png
  below the workdir. A resumed run repeats the uninterrupted one bit for bit.

  Args:
    task: What is trained.
    cfg: The experiment.
    workdir: Made when missing; of the same experiment otherwise.

  Raises:
    ValueError: The workdir belongs to another configuration, is an address, or is in
      use by another training.
    OSError: The workdir cannot be written to.
    FloatingPointError: the loss is not finite; the last checkpoint is kept.
  """
  _check_devices(cfg)
  workdir, settings = local_path(workdir), cfg.train
  with contextlib.closing(
    CheckpointStore(workdir, keep=settings.keep_checkpoints)
  ) as checkpoints:
    checkpoints.check_config(config.to_dict(cfg), config.may_change())
    place = functools.partial(parallel.replicate, backend=settings.backend)
    feed = Feed.open(cfg.data, settings.backend)
    sampler = task.sampler(feed)
    tx = optim.make_optimizer(cfg.optim, settings.steps, cfg.model.freeze_until)
    state = _first_state(cfg, task, tx, checkpoints)
    processes.check_same(
      lambda: fingerprint.of_variables(int(state.step), _variables(state)),
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
          if parallel.is_main_process():
            write_picture(workdir / "pictures" / f"step_{step:07d}.png", pixels)
        if due(settings.checkpoint_every):
          # Last, so that a run killed at any time resumes with nothing left out.
          log.flush()  # stops the run when a number is not finite: never saved
          checkpoints.save(step, state, config.to_dict(cfg))
    if parallel.is_main_process():
      curves = draw_curves({workdir.name: workdir / METRICS_FILE})
      write_picture(workdir / "curves.png", curves)
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
) -> train_state.TrainState:
  """Returns the newest checkpoint, or the state before the first step."""
  variables = task.init_variables()
  restored = checkpoints.restore_latest(train_state.init_state(variables, tx))
  if restored is not None:
    state, step = restored
    _log.info("resuming after step %d of %d", step, cfg.train.steps)
    return state
  if cfg.model.pretrained:
    variables = processes.together(
      lambda: pretrained_variables(variables, cfg.model.pretrained, cfg.model)
    )
  return train_state.init_state(variables, tx)


def _variables(state: train_state.TrainState) -> dict[str, Any]:
  return {"params": state.params, "batch_stats": state.batch_stats}


def _description(cfg: Config, feed: Feed, state: train_state.TrainState) -> str:
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
