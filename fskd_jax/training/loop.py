"""Training: `fit`, the bare loop, and `train`, the loop with a folder of records."""

import collections
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.data import fingerprint
from fskd_jax.data.checks.training import doubts
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler, train_index_batches
from fskd_jax.device import parallel, preemption, processes, watch
from fskd_jax.files import write_picture
from fskd_jax.models.build import count_parameters
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.training import optim, starts
from fskd_jax.training import state as train_state
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.initialization import first_variables
from fskd_jax.training.log import TrainLog, recorded_seconds
from fskd_jax.training.profile import Profiler
from fskd_jax.training.records import Records
from fskd_jax.training.state import TrainState
from fskd_jax.training.task import Task
from fskd_jax.training.workdir import local_path
from fskd_jax.training.writer import METRICS_FILE, MetricWriter

_log = logging.getLogger(__name__)

AfterStep = Callable[[int, TrainState, Mapping[str, Any]], None]


def fit(
  task: Task,
  feed: Feed,
  state: TrainState,
  cfg: Config,
  *,
  sampler: Sampler | None = None,
  step_fn: Callable[..., Any] | None = None,
  after_step: AfterStep | None = None,
) -> TrainState:
  """Trains until step `cfg.train.steps`, and writes nothing.

  It computes the same as `train`, for programs that keep their own records:

      task = experiment.make_task(cfg)
      feed = Feed.open(cfg.data, cfg.train.backend)
      state = loop.fit(task, feed, loop.new_state(task, cfg), cfg, after_step=print)

  Args:
    task: The task to train.
    feed: The data set, opened for `cfg.train.backend`.
    state: The state to continue from. It stays usable.
    cfg: The experiment. Step s draws the same episodes whichever step comes first.
    sampler: The source of the episodes; `task.sampler(feed)` by default.
    step_fn: What `compiled_step` returned for the same task and configuration, so that
      several trainings compile once; by default made anew.
    after_step: Function to call with the step, its state and its metrics, which the
      devices may still be computing. The next step overwrites the state: copy what
      you keep (`jax.device_get`).

  Returns:
    The state after the last step.

  Raises:
    ValueError: The episodes of a step do not divide among the devices, or the data set
      holds too little for an episode.
  """
  _check_devices(cfg)
  backend, episodes = cfg.train.backend, cfg.train.episodes_per_step
  first, hosts = int(state.step), jax.process_count()
  step_fn = step_fn or compiled_step(task, cfg)
  state = parallel.replicate(state, backend)
  indices = train_index_batches(first, episodes, jax.process_index(), hosts)
  sampler = sampler or task.sampler(feed)
  with feed.batches(sampler, indices, episodes // hosts) as batches:
    for step, batch in zip(range(first + 1, cfg.train.steps + 1), batches):
      watch.beat()  # this process has its part of the episodes
      with jax.profiler.StepTraceAnnotation("train", step_num=step):
        state, metrics = step_fn(state, batch, feed.store)
      if after_step:
        after_step(step, state, metrics)
  return state


def compiled_step(task: Task, cfg: Config) -> Callable[..., Any]:
  """Returns the step of `fit`, which is compiled at its first call."""
  return parallel.parallelize_training(
    task.train_step(_optimizer(cfg)), cfg.train.backend, config.crop_size(cfg.data)
  )


def new_state(task: Task, cfg: Config) -> TrainState:
  """Returns the state before the first step.

  The weights are those of `model.pretrained` and `train.init_from`, the rest random.

  Raises:
    FileNotFoundError, ValueError: A file or run does not exist, or does not fit.
  """
  variables = first_variables(task.init_variables(), cfg)
  return train_state.init_state(variables, _optimizer(cfg))


def train(
  task: Task,
  cfg: Config,
  workdir: str | os.PathLike,
  profile_steps: str = "",
  step_fn: Callable[..., Any] | None = None,
  feed: Feed | None = None,
) -> TrainState:
  """Trains, or resumes the training in a workdir.

  Writes checkpoints/, metrics.jsonl, starts.jsonl (the machine of every start),
  TensorBoard events, pictures/ and curves.png below the workdir. A resumed run repeats
  the uninterrupted one bit for bit.

  Args:
    task: The task to train.
    cfg: The experiment.
    workdir: The folder of the run; created if it does not exist.
    profile_steps: The steps to profile into profile/ below the workdir, see `Profiler`.
    step_fn: As for `fit`.
    feed: The data set of `cfg`, opened for its backend; opened here by default.

  Raises:
    ValueError: The workdir belongs to another configuration, is an address, or is in
      use by another training; or `profile_steps` is wrong.
    OSError: The workdir cannot be written to.
    FloatingPointError: The loss is not finite. The last checkpoint is kept.
    Stopped: A signal came that `preemption.listening` hears. The last step is saved.
  """
  _check_devices(cfg)
  workdir = local_path(workdir)
  profiler = Profiler(profile_steps, workdir / "profile", cfg.train.steps)
  with contextlib.closing(
    CheckpointStore(workdir, keep=cfg.train.keep_checkpoints)
  ) as checkpoints:
    # Checks come before anything that takes long or writes a file.
    checkpoints.check_config(config.to_dict(cfg), config.may_change())
    if feed is None:
      feed = Feed.open(cfg.data, cfg.train.backend)
    sampler, validator = task.sampler(feed), task.validator(feed)
    task.check_evaluation(feed)
    state, progress = _first_state(task, cfg, checkpoints)
    processes.check_same(
      lambda: fingerprint.of_variables(int(state.step), _variables(state)),
      "is the workdir, model.pretrained or train.init_from another one?",
    )
    if parallel.is_main_process():
      for doubt in doubts(feed):
        _log.warning("%s", doubt)
    _log.info("%s", _description(cfg, feed, state))
    first, due = int(state.step), progress.get("due", [])
    with (
      MetricWriter(workdir, first + 1, not_validated=bool(due)) as writer,
      TrainLog(
        cfg,
        writer,
        steps_done=first,
        seconds=recorded_seconds(workdir / METRICS_FILE),
        images_per_step=task.images_per_step,
        unwritten=progress.get("unwritten"),
      ) as log,
      profiler.opened(first),
      preemption.deferred(),
    ):
      records = Records(cfg, workdir, checkpoints, writer, log, validator)
      if first < cfg.train.steps and parallel.is_main_process():
        starts.record(workdir, first, cfg.train.backend)

      def after_step(step: int, state: TrainState, metrics: Mapping[str, Any]) -> None:
        records.after_step(step, state, metrics)
        profiler.after_step(step, metrics)

      if due:
        placed = parallel.replicate(state, cfg.train.backend)
        records.finish_step(first, placed, due)
      state = fit(
        task,
        feed,
        state,
        cfg,
        sampler=sampler,
        step_fn=step_fn,
        after_step=after_step,
      )
  if parallel.is_main_process():
    curves = draw_curves({workdir.name: workdir / METRICS_FILE})
    write_picture(workdir / "curves.png", curves)
  return state


def _check_devices(cfg: Config) -> None:
  """Checks that the episodes of a step divide among the devices.

  Raises:
    ValueError: They do not. The message names a number that does.
  """
  episodes, single = cfg.train.episodes_per_step, cfg.train.backend == "single"
  devices = 1 if single else jax.device_count()
  counts = collections.Counter(device.process_index for device in jax.devices())
  if len({*counts.values()}) > 1:
    raise ValueError(
      f"devices by process {dict(counts)}: every process must have the same number"
    )
  contrasts = cfg.task == "few_shot" and cfg.loss.mfcl_weight > 0
  least, parts = 2 if contrasts else 1, cfg.train.parts
  fitting = devices * parts * max(least, -(-episodes // (devices * parts)))
  of_each = f" and train.parts = {parts} of each" if parts > 1 else ""
  if episodes % (devices * parts):
    raise ValueError(
      f"train.episodes_per_step = {episodes} episodes do not divide among {devices} "
      f"devices{of_each}: set train.episodes_per_step = {fitting}, or train.backend = "
      "'single' for one device"
    )
  if episodes < least * devices * parts:
    raise ValueError(
      f"train.episodes_per_step = {episodes} on {devices} devices{of_each}: "
      "loss.mfcl_weight > 0 contrasts episodes of the same device and part: set "
      f"train.episodes_per_step = {fitting}, two of each, or loss.mfcl_weight = 0"
    )


def _first_state(
  task: Task, cfg: Config, checkpoints: CheckpointStore
) -> tuple[TrainState, dict[str, Any]]:
  """Returns the state to start from, the newest saved one if any, and its progress."""
  tx = _optimizer(cfg)
  template = jax.eval_shape(lambda: train_state.init_state(task.init_variables(), tx))
  restored = checkpoints.restore_latest(template)
  if restored is None:
    return new_state(task, cfg), {}
  _log.info("resuming after step %d of %d", restored.step, cfg.train.steps)
  return restored.state, restored.progress


def _optimizer(cfg: Config) -> optax.GradientTransformation:
  return optim.make_optimizer(cfg.optim, cfg.train.steps, config.rates(cfg))


def _variables(state: TrainState) -> dict[str, Any]:
  return {"params": state.params, "batch_stats": state.batch_stats}


def _description(cfg: Config, feed: Feed, state: TrainState) -> str:
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
