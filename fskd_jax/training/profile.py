"""Profiles some steps of a training with JAX's profiler."""

import contextlib
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jax

_log = logging.getLogger(__name__)


class Profiler:
  """Records the steps first..last of a training, each of them whole.

  Attributes:
    first, last: The first and the last recorded step, from 1.
    folder: The folder that TensorBoard's profile page or Perfetto reads.
  """

  def __init__(self, steps: str, folder: pathlib.Path, train_steps: int):
    """Reads the range of steps.

    Args:
      steps: "first:last", such as "100:110"; "" records nothing.
      folder: The folder to write to.
      train_steps: The last step of the training.

    Raises:
      ValueError: `steps` is not such a range, or the training ends before.
    """
    self.first, self.last = _parse(steps)
    if self.last > train_steps:
      raise ValueError(
        f"--profile_steps={steps}: the training ends at step {train_steps}"
      )
    self.folder = folder
    self._is_running = False

  @contextlib.contextmanager
  def opened(self, steps_done: int) -> Iterator[None]:
    """Records within the context, and ends a recording that an error interrupts.

    Args:
      steps_done: The number of steps done before.
    """
    if 0 < self.first <= steps_done:
      _log.warning(
        "step %d is done already: steps %d to %d are not profiled",
        steps_done, self.first, self.last,
      )  # fmt: skip
    self._start_before(steps_done + 1)
    try:
      yield
    finally:
      self._stop()

  def after_step(self, step: int, result: Any) -> None:
    """Starts before the first step, and stops when the last one is computed.

    Args:
      step: The number of the step that was started.
      result: Arrays of the step, to wait for.
    """
    if step == self.last and self._is_running:
      jax.block_until_ready(result)
      self._stop()
      _log.info("profile of steps %d to %d: %s", self.first, self.last, self.folder)
    if step + 1 == self.first:
      jax.block_until_ready(result)  # the step before is not part of the profile
      self._start_before(step + 1)

  def _start_before(self, step: int) -> None:
    if step == self.first:
      jax.profiler.start_trace(self.folder)
      self._is_running = True

  def _stop(self) -> None:
    if self._is_running:
      self._is_running = False
      jax.profiler.stop_trace()


def _parse(steps: str) -> tuple[int, int]:
  """Returns the first and the last step, 0 and 0 for none."""
  if not steps:
    return 0, 0
  found = re.fullmatch(r"(\d+):(\d+)", steps)
  first, last = map(int, found.groups()) if found else (0, 0)
  if not 1 <= first <= last:
    raise ValueError(
      f"--profile_steps={steps}: expected the first and the last step, as 100:110"
    )
  return first, last
