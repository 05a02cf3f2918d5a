"""Averages, checks, shows and writes the metrics of training steps."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import jax
import numpy as np
from tqdm import tqdm

from fskd_jax.config import Config
from fskd_jax.device import parallel
from fskd_jax.metrics import lines as metrics_lines
from fskd_jax.training.writer import MetricWriter


class Unwritten(TypedDict):
  """Metrics of steps since the last line of a log, as JSON can hold them.

  Attributes:
    steps: The metrics of each step, float32 numbers by name.
    seconds: The time that these steps took.
  """

  steps: list[dict[str, float]]
  seconds: float


class TrainLog:
  """Averages, checks and shows the metrics of training steps.

  Metrics are fetched one step late, when the device already computes the next step.
  """

  def __init__(
    self,
    cfg: Config,
    writer: MetricWriter,
    *,
    steps_done: int,
    seconds: float,
    images_per_step: int,
    unwritten: Unwritten | None = None,
  ):
    """Opens the log, and shows the progress bar.

    Args:
      cfg: The experiment, with its name, its steps and the interval of writing.
      writer: The writer of the run.
      steps_done: Number of steps done by earlier processes.
      seconds: Training time of these steps until the last line.
      images_per_step: Number of images of a step, over all devices.
      unwritten: The last of these steps, which no line holds yet.
    """
    train = cfg.train
    self._every, self._writer = train.log_every, writer
    self._images = images_per_step
    self._pending: list[Mapping[str, Any]] = []
    unwritten = unwritten or Unwritten(steps=[], seconds=0.0)
    self._fetched = [
      {name: np.float32(value) for name, value in metrics.items()}
      for metrics in unwritten["steps"]
    ]
    self._elapsed = unwritten["seconds"]
    self._step, self._seconds, self._started = steps_done, seconds, 0.0
    self._bar = tqdm(
      total=train.steps,
      initial=steps_done,
      desc=cfg.name,
      unit="step",
      disable=not parallel.is_main_process(),
    )

  def add(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Adds the metrics of a step, which the devices may still be computing."""
    if self._step % self._every == 0:
      self._write()
    if not self._pending:
      self._started = time.perf_counter()
    self._pending.append(metrics)
    self._step = step

  def pause(self) -> Unwritten:
    """Waits for the steps added, and stops the clock until the next one.

    Returns:
      The steps that no line holds yet.

    Raises:
      FloatingPointError: A metric of a step is not finite.
    """
    if self._step % self._every == 0:
      self._write()
    self._fetch()
    steps = [{k: float(v) for k, v in x.items()} for x in self._fetched]
    return Unwritten(steps=steps, seconds=self._elapsed)

  def _fetch(self) -> None:
    if not self._pending:
      return
    values = jax.device_get(self._pending)
    self._pending = []
    self._elapsed += time.perf_counter() - self._started
    for step, metrics in enumerate(values, self._step - len(values) + 1):
      # With an infinite gradient the parameters are already spoilt, whatever the loss.
      if not all(map(np.isfinite, metrics.values())):
        numbers = ", ".join(f"{name} {value}" for name, value in metrics.items())
        raise FloatingPointError(
          f"step {step} is not finite: {numbers}; the last checkpoint is kept. "
          "Try a smaller optim.learning_rate, or optim.clip_norm=1"
        )
    self._fetched += values

  def _write(self) -> None:
    """Writes the averages of the steps since the last line."""
    self._fetch()
    values, seconds = self._fetched, self._elapsed
    if not values:
      return
    self._fetched, self._elapsed = [], 0.0
    averages = {
      f"train/{name}": float(np.mean([metrics[name] for metrics in values]))
      for name in values[0]
    }
    self._seconds += seconds
    averages["train/images_per_second"] = self._images * len(values) / seconds
    averages["train/seconds"] = self._seconds  # since step 0, without validation
    self._writer.scalars(self._step, averages)
    self._bar.set_postfix_str(
      f"loss {averages['train/loss']:.4f}, "
      f"{averages['train/images_per_second']:.0f} images/s",
      refresh=False,
    )
    self._bar.update(self._step - self._bar.n)

  def __enter__(self) -> "TrainLog":
    return self

  def __exit__(self, kind: type | None, *_: object) -> None:
    if kind is None:
      self._write()
    self._bar.close()


def recorded_seconds(metrics: pathlib.Path) -> float:
  """Returns the training time until the last line of a metrics file, or 0."""
  if not parallel.is_main_process() or not metrics.is_file():
    return 0.0
  lines = metrics_lines.read(metrics)
  return max((line.get("train/seconds") or 0.0 for line in lines), default=0.0)
