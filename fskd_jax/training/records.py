"""Keeps the records of a run: metrics, validation, pictures and checkpoints."""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.device import parallel, preemption
from fskd_jax.files import write_picture
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.log import TrainLog
from fskd_jax.training.state import TrainState
from fskd_jax.training.task import Validator
from fskd_jax.training.writer import MetricWriter

_log = logging.getLogger(__name__)


class Records:
  """Logs, validates, draws and saves during a training; all processes call it alike.

  A checkpoint also holds what is to be recorded yet: the steps since the last line of
  the log, and, if a signal ended the run, the validation of that step. So it may fall
  on any step, and the resumed run still writes what an uninterrupted one does.
  """

  def __init__(
    self,
    cfg: Config,
    workdir: pathlib.Path,
    checkpoints: CheckpointStore,
    writer: MetricWriter,
    log: TrainLog,
    validator: Validator,
  ):
    self._cfg, self._workdir, self._checkpoints = cfg, workdir, checkpoints
    self._writer, self._log, self._validator = writer, log, validator

  def after_step(
    self, step: int, state: TrainState, metrics: Mapping[str, Any]
  ) -> None:
    """Logs a step, and validates, draws and saves when due.

    Raises:
      Stopped: A signal asked for the end. The step is saved.
      OSError: A checkpoint could not be saved.
    """
    settings = self._cfg.train
    self._log.add(step, metrics)
    intervals = {
      "validation": settings.validate_every,
      "picture": settings.picture_every,
    }
    due = [
      name
      for name, every in intervals.items()
      if self._validator.is_possible and self._is_due(step, every)
    ]
    self.finish_step(step, state, due)

  def finish_step(self, step: int, state: TrainState, due: Sequence[str]) -> None:
    """Does what is due after a step: "validation", "picture", in this order; saves.

    Raises:
      Stopped: As for `after_step`.
    """
    left = [*due]
    self._checkpoints.check()
    is_asked = preemption.requested()
    try:
      while left and not is_asked:
        self._log.pause()  # training time does not include validation
        self._do(left[0], step, state)
        left.pop(0)
    except preemption.Interrupted:
      is_asked = True
    if is_asked or self._is_due(step, self._cfg.train.checkpoint_every):
      # Last, so that a run killed at any time resumes without losing a record.
      self._save(step, state, left)
      is_asked = is_asked or preemption.requested()  # it may have come while saving
    if is_asked or step == self._cfg.train.steps:
      self._checkpoints.finish()
    if is_asked:
      if parallel.is_main_process():
        _log.warning(
          "stopped after step %d because of %s; the same command goes on",
          step,
          preemption.reason(),
        )
      raise preemption.stopped()

  def _is_due(self, step: int, every: int) -> bool:
    return step % every == 0 or step == self._cfg.train.steps

  def _do(self, name: str, step: int, state: TrainState) -> None:
    if name == "validation":
      self._writer.scalars(step, self._validator.scores(state))
      return
    pixels = self._validator.picture(state, f"step {step}")
    self._writer.image(step, "validation", pixels)
    if parallel.is_main_process():
      write_picture(self._workdir / "pictures" / f"step_{step:07d}.png", pixels)

  def _save(self, step: int, state: TrainState, left: list[str]) -> None:
    # Raises on a number that is not finite, before it is saved.
    progress = {"unwritten": self._log.pause(), "due": left}
    self._checkpoints.begin_saving(step, state, config.to_dict(self._cfg), progress)
