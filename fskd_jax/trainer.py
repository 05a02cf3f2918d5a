"""The training run: from a configuration and a folder to a trained detector."""

import contextlib
import functools
import json
import logging
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from PIL import Image
from tqdm import tqdm

from fskd_jax import config, evaluator, optim, parallel, plots, steps
from fskd_jax.checkpoint import CheckpointStore
from fskd_jax.config import Config
from fskd_jax.data.episodes import train_index_batches
from fskd_jax.data.feed import Feed
from fskd_jax.interop.weights import pretrained_variables
from fskd_jax.metric_writer import METRICS_FILE, MetricWriter
from fskd_jax.models.detector import (
  FewShotDetector,
  count_parameters,
  init_variables,
)

_log = logging.getLogger(__name__)

MAY_DIFFER = (
  "name",
  "eval",
  "data.path",
  "data.cache_dir",
  "data.executor",
  "model.pretrained",
  "train.backend",
  "train.log_every",
  "train.validate_every",
  "train.validation_episodes",
  "train.picture_every",
  "train.checkpoint_every",
  "train.keep_checkpoints",
)
"""What may change when a run is resumed: nothing that a trained weight depends on."""


def train(cfg: Config, workdir: str | os.PathLike) -> steps.TrainState:
  """Trains, or resumes the training that `workdir` holds.

  Writes checkpoints/, metrics.jsonl, TensorBoard events, pictures/ and curves.png
  below the workdir. A resumed run repeats the uninterrupted one bit for bit.

  Args:
    cfg: the experiment.
    workdir: made when missing; of the same experiment otherwise.

  Raises:
    ValueError: the configuration is wrong, or the workdir is of another one.
    FloatingPointError: the loss is not finite; the last checkpoint is kept.
  """
  config.validate(cfg)
  _check_devices(cfg.train)
  workdir, settings = pathlib.Path(workdir), cfg.train
  with contextlib.closing(
    CheckpointStore(workdir, keep=settings.keep_checkpoints)
  ) as checkpoints:
    checkpoints.check_config(config.to_dict(cfg), MAY_DIFFER)
    place = functools.partial(parallel.replicate, backend=settings.backend)
    feed = Feed.open(cfg.data, place)
    sampler = feed.training_sampler(settings)
    detector = FewShotDetector(cfg.model, cfg.data.image_size)
    tx = optim.make_optimizer(cfg.optim, settings.steps, cfg.model.freeze_until)
    state = _first_state(cfg, detector, tx, checkpoints)
    _log.info("%s", _description(cfg, feed, state))

    step_fn = parallel.parallelize_training(
      functools.partial(
        steps.train_step,
        detector=detector,
        tx=tx,
        loss=cfg.loss,
        seed=settings.seed,
        rotate_support=settings.rotate_support,
        color_jitter=cfg.data.color_jitter,
      ),
      settings.backend,
    )
    state = place(state)
    first, host, num_hosts = int(state.step), jax.process_index(), jax.process_count()
    indices = train_index_batches(first, settings.episodes_per_step, host, num_hosts)
    validator = _Validator(cfg, feed)
    with (
      feed.batches(
        sampler, indices, settings.episodes_per_step // num_hosts
      ) as batches,
      MetricWriter(workdir, first + 1) as writer,
      _Log(cfg, writer, first, _recorded_seconds(workdir / METRICS_FILE)) as log,
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
      plots.draw_curves(workdir / METRICS_FILE, workdir / "curves.png")
    return state


def _check_devices(cfg: config.TrainConfig) -> None:
  devices = 1 if cfg.backend == "single" else jax.device_count()
  if cfg.episodes_per_step % devices:
    raise ValueError(
      f"train.episodes_per_step = {cfg.episodes_per_step} episodes do not divide among "
      f"{devices} devices; set a multiple, or train.backend = 'single'"
    )


class _Log:
  """Averages, checks and shows the metrics of training steps.

  Metrics are fetched one step late, when the device already works on the next.
  """

  def __init__(self, cfg: Config, writer: MetricWriter, first: int, seconds: float):
    train = cfg.train
    self._every, self._writer = train.log_every, writer
    self._images = train.episodes_per_step * (train.shots + train.queries)
    self._pending: list[Mapping[str, Any]] = []
    self._step, self._seconds, self._started = first, seconds, 0.0
    self._bar = tqdm(
      total=train.steps,
      initial=first,
      desc=cfg.name,
      unit="step",
      disable=not parallel.is_main_process(),
    )

  def add(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Takes the metrics of a step, which may still be in the making."""
    if self._step % self._every == 0:
      self.flush()
    if not self._pending:
      self._started = time.perf_counter()
    self._pending.append(metrics)
    self._step = step

  def flush(self) -> None:
    """Writes the averages of what was added since the last time.

    Raises:
      FloatingPointError: the loss of a step is not finite.
    """
    if not self._pending:
      return
    values = jax.device_get(self._pending)
    first = self._step - len(values) + 1
    self._pending = []
    seconds = time.perf_counter() - self._started
    for step, found in enumerate(values, first):
      # A finite loss with an infinite gradient has spoilt the parameters already.
      if not all(map(np.isfinite, found.values())):
        numbers = ", ".join(f"{name} {value}" for name, value in found.items())
        raise FloatingPointError(
          f"step {step} is not finite: {numbers}; the last checkpoint is kept. "
          "Try a smaller optim.learning_rate, or optim.clip_norm=1"
        )
    averages = {
      f"train/{name}": float(np.mean([found[name] for found in values]))
      for name in values[0]
    }
    self._seconds += seconds
    averages["train/images_per_second"] = self._images * len(values) / seconds
    averages["train/seconds"] = self._seconds  # of all runs, without validation
    self._writer.scalars(self._step, averages)
    self._bar.set_postfix_str(
      f"loss {averages['train/loss']:.4f}, "
      f"{averages['train/images_per_second']:.0f} images/s",
      refresh=False,
    )
    self._bar.update(self._step - self._bar.n)

  def __enter__(self) -> "_Log":
    return self

  def __exit__(self, kind: type | None, *_: object) -> None:
    if kind is None:
      self.flush()
    self._bar.close()


class _Validator:
  """Scores and draws a detector on the validation species, never the unseen."""

  def __init__(self, cfg: Config, feed: Feed):
    self._cfg, self._feed = cfg, feed
    self._samplers = {
      kind: feed.evaluation_sampler(f"validation/{kind}", cfg.eval)
      for kind in ("base", "novel")
      if feed.splits.validation and len(getattr(feed.types, kind))
    }
    self.is_possible = bool(self._samplers)
    detector = FewShotDetector(cfg.model, cfg.data.image_size)
    self._network = evaluator.network_predictor(detector, feed, cfg.train.backend)

  def _predictor(self, state: steps.TrainState) -> evaluator.Predictor:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return functools.partial(self._network, variables)

  def scores(self, state: steps.TrainState) -> dict[str, float]:
    """Returns PCK@0.1 (or nearest) by list of types."""
    predict = self._predictor(state)
    found = {}
    for kind, sampler in self._samplers.items():
      summaries, _ = evaluator.score(
        {"detector": predict},
        self._feed,
        sampler,
        self._cfg.eval,
        episodes=self._cfg.train.validation_episodes,
      )
      threshold = f"{evaluator.headline(self._cfg.eval):g}"
      found[f"val/{kind}/pck@{threshold}"] = summaries["detector"]["pck"][threshold][
        "mean"
      ]
    return found

  def picture(self, state: steps.TrainState, title: str) -> np.ndarray:
    """Draws the first validation episode of each list of types."""
    predict = self._predictor(state)
    return plots.draw_episodes(
      [
        evaluator.picture(f"{title}, {kind}", 0, sampler, self._feed, predict)
        for kind, sampler in self._samplers.items()
      ]
    )


def _first_state(
  cfg: Config,
  detector: FewShotDetector,
  tx: optax.GradientTransformation,
  checkpoints: CheckpointStore,
) -> steps.TrainState:
  """Returns the newest checkpoint, or the state before the first step."""
  variables = init_variables(detector, cfg.train.seed)
  restored = checkpoints.restore_latest(steps.init_state(variables, tx))
  if restored is not None:
    state, step = restored
    _log.info("resuming after step %d of %d", step, cfg.train.steps)
    return state
  if cfg.model.pretrained:
    variables = pretrained_variables(variables, cfg.model.pretrained)
  return steps.init_state(variables, tx)


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


def _recorded_seconds(metrics: pathlib.Path) -> float:
  """Returns the training time of earlier runs, whose lines the writer has kept."""
  if not parallel.is_main_process():
    return 0.0
  lines = map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
  return max((line.get("train/seconds", 0.0) for line in lines), default=0.0)


def _save(pixels: np.ndarray, path: pathlib.Path) -> None:
  if parallel.is_main_process():
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
