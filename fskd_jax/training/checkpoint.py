"""Saves and restores checkpoints of a run.

Checkpoints hold NumPy arrays of the whole state, with a checksum, so they do not
depend on the backend or the number of devices that wrote them. A thread of process 0
writes them beside the training.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np

from fskd_jax.buckets import copies
from fskd_jax.config import Config, to_dict
from fskd_jax.device import processes
from fskd_jax.training import checkpoint_content as content
from fskd_jax.training import workdir as workdirs
from fskd_jax.training.checkpoint_files import READ_ERRORS, CheckpointFiles
from fskd_jax.training.state import TrainState

_log = logging.getLogger(__name__)

_LISTINGS = 20
"""Number of attempts of a reader to list checkpoints while a training replaces them."""


class SavedRun(NamedTuple):
  """A checkpoint that a training goes on from.

  Attributes:
    state: The state as NumPy arrays.
    step: The number of training steps done.
    progress: The `progress` of its `save`, as parsed from JSON; {} if there was none.
  """

  state: TrainState
  step: int
  progress: dict[str, Any]


class SavedModel(NamedTuple):
  """The part of a checkpoint that evaluation and export need.

  Attributes:
    step: The number of training steps done.
    config: The configuration of the training, as parsed from JSON.
    variables: {"params", "batch_stats"}, as NumPy arrays.
  """

  step: int
  config: dict[str, Any]
  variables: dict[str, Any]


class CheckpointStore:
  """The checkpoints in `<workdir>/checkpoints`; all processes call every method."""

  def __init__(self, workdir: str | os.PathLike, keep: int | None = None):
    """Opens the checkpoints of a run.

    Args:
      workdir: The folder of the run. With `keep`, it is created if missing, and leased,
        so that others cannot write to it until `close`.
      keep: The number of newest checkpoints to keep. None opens the run for reading
        only, which is possible while another process writes.

    Raises:
      FileNotFoundError: The run is opened for reading and has no checkpoint folder.
      ValueError: The workdir is an address, or another process has it open for
        writing.
      OSError: The workdir cannot be created or written to.
    """
    folder = workdirs.local_path(workdir)
    self.directory = folder.absolute() / "checkpoints"
    self._keep, self._writable = keep or 0, keep is not None
    self._is_copy = copies.is_copy(self.directory)  # each process has its own
    if not self._writable and not self.directory.is_dir():
      raise FileNotFoundError(f"{workdir} is no workdir: it has no checkpoints folder")
    with contextlib.ExitStack() as opened:
      if self._writable:
        self._lease = opened.enter_context(workdirs.held_for_writing(folder))
      self._files = CheckpointFiles(self.directory)
      opened.callback(self._files.close)
      if self._writable:
        self._on_main(self._files.tidy_up)
      self._thread = opened.enter_context(
        futures.ThreadPoolExecutor(1, "fskd_checkpoints")
      )
      self._begun: tuple[int, futures.Future[None] | None] | None = None
      self._opened = opened.pop_all()

  def save(
    self,
    step: int,
    state: TrainState,
    config: dict[str, Any],
    progress: Mapping[str, Any] | None = None,
  ) -> None:
    """Saves a checkpoint and waits for it: `begin_saving`, then `finish`."""
    self.begin_saving(step, state, config, progress)
    self.finish()

  def begin_saving(
    self,
    step: int,
    state: TrainState,
    config: dict[str, Any],
    progress: Mapping[str, Any] | None = None,
  ) -> None:
    """Begins to save a checkpoint, after the one before is finished.

    A thread of process 0 writes it, reads it back, and only then drops the oldest. A
    step that is already saved is left alone.

    Args:
      step: The number of training steps done.
      state: The state after them; it is copied, and may be used up.
      config: The configuration of the training.
      progress: What else a resumed run has to know, as JSON can hold it.

    Raises:
      OSError: As for `finish`, of the checkpoint before.
      ValueError: Another training has taken over the workdir.
    """
    self.finish()
    self._on_main(self._lease.check)
    writing = None
    if jax.process_index() == 0:
      # On a CPU what `device_get` returns may be the memory of the state itself.
      copied = jax.tree.map(np.array, jax.device_get(state))
      writing = self._thread.submit(
        self._write, step, content.to_items(copied), config, dict(progress or {})
      )
    self._begun = (step, writing)

  def check(self) -> None:
    """Raises what the thread of this process has met so far; does not wait.

    Raises:
      OSError: As for `finish`.
    """
    _, writing = self._begun or (0, None)
    if writing and writing.done() and (error := writing.exception()):
      self._begun = None
      raise error

  def finish(self) -> None:
    """Waits until the checkpoint that was begun is whole.

    Raises:
      OSError: It could not be written or read back, or a process does not see it.
        Earlier checkpoints are untouched.
    """
    if not self._begun:
      return
    (step, writing), self._begun = self._begun, None
    processes.together(writing.result if writing else lambda: None)
    processes.together(lambda: self._check_seen(step))

  def restore_latest(self, template: TrainState) -> SavedRun | None:
    """Restores the newest readable checkpoint, or returns None without checkpoints.

    Unreadable checkpoints are reported and, if the store is open for writing, renamed
    to `<step>.unreadable`, so that the run can write that step again.

    Args:
      template: A state of the expected structure, shapes and dtypes.

    Raises:
      ValueError: No checkpoint can be read, or the newest does not fit the template.
    """
    newest = self._newest(content.ITEMS)
    if newest is None:
      return None
    step, saved = newest
    items = content.match(content.to_items(template), saved, f"{self.directory}/{step}")
    leaves = items["optimizer"]["leaves"]
    paths, structure = jax.tree_util.tree_flatten_with_path(template.opt_state)
    opt_state = structure.unflatten(
      leaves[content.leaf_name(path)] for path, _ in paths
    )
    state = TrainState(**items["model"], opt_state=opt_state)
    return SavedRun(state, step, saved["about"].get("progress", {}))

  def restore_model(self) -> SavedModel:
    """Restores the newest readable checkpoint without its optimiser.

    Raises:
      FileNotFoundError: There is no checkpoint.
      ValueError: No checkpoint can be read.
    """
    newest = self._newest(("model",))
    if newest is None:
      raise FileNotFoundError(f"there is no checkpoint in {self.directory}")
    step, saved = newest
    variables = {name: saved["model"][name] for name in ("params", "batch_stats")}
    return SavedModel(step, saved["about"]["config"], variables)

  def check_config(
    self, config: dict[str, Any], may_differ: Collection[str] = ()
  ) -> None:
    """Checks that the newest checkpoint was made with this configuration.

    Args:
      config: The configuration as nested dictionaries, by `dataclasses.asdict`.
      may_differ: Dotted names of fields or sections that are not compared, such as
        "train.steps" or "eval".

    Raises:
      ValueError: Another field differs, or no checkpoint can be read. The message lists
        all differing fields.
    """
    newest = self._newest(())
    if newest is None:
      return
    # A run that is older than a field was trained as with the field's default.
    differing = content.differences(
      newest[1]["about"]["config"], config, to_dict(Config()), may_differ
    )
    if differing:
      raise ValueError(
        f"{self.directory.parent} was trained with another configuration; use a new "
        "workdir or the old values:\n  " + "\n  ".join(differing)
      )

  def close(self) -> None:
    """Waits for what is being written, and gives the workdir back to other writers."""
    self._opened.close()
    _, writing = self._begun or (0, None)
    if writing and (error := writing.exception()):
      _log.error("%s", error)  # something else ended the run, and is told after it

  def _write(
    self, step: int, items: dict[str, Any], config: dict[str, Any], progress: Any
  ) -> None:
    """Writes a checkpoint, reads it back, and drops the oldest."""
    if step in self._files.steps():
      return
    self._files.write(step, items, config, progress)
    self._files.drop_old(self._keep)

  def _on_main(self, work: Callable[[], Any]) -> None:
    """Does work on process 0, while the others wait; if it fails, it fails on all."""
    processes.together(work if jax.process_index() == 0 else lambda: None)

  def _check_seen(self, step: int) -> None:
    if jax.process_index() and self._is_copy:
      return  # it will have what process 0 sends when it starts again
    if not (self.directory / str(step)).is_dir():
      raise OSError(
        f"{self.directory} holds no checkpoint of step {step}, which process 0 has "
        "written: all processes must see the same workdir"
      )

  def _newest(self, items: tuple[str, ...]) -> tuple[int, dict[str, Any]] | None:
    """Reads the newest readable checkpoint, falling back to older ones."""
    for _ in range(_LISTINGS):
      steps = self._steps()
      found, unreadable = self._first_readable(steps, items)
      if found is not None and not unreadable:
        break
      if self._writable or jax.process_count() > 1 or self._steps() == steps:
        break  # otherwise a training has replaced the listed ones by newer ones
    if self._writable:
      processes.together(lambda: None)  # nobody still reads what is set aside below
    for step, error in unreadable.items():
      _log.warning(
        "Checkpoint %s/%d is unreadable: %s",
        self.directory,
        step,
        self._files.first_line(error),
      )
    if found is None and steps:
      raise ValueError(
        f"none of the checkpoints {steps} in {self.directory} is readable"
      )
    if found is not None and unreadable:
      failed = ", ".join(map(str, unreadable))
      _log.warning("Falling back from step %s to step %d", failed, found[0])
    if self._writable:
      do = processes.together if self._is_copy else self._on_main
      do(lambda: self._files.set_aside(unreadable))
    return found

  def _steps(self) -> list[int]:
    """Lists the checkpoints, newest first."""
    there, steps = self.directory.is_dir(), self._files.steps()
    # All processes must list the same steps before one sets any aside.
    processes.check_same(
      lambda: {
        "the folder of checkpoints": "there" if there else "missing",
        "the list of checkpoints": steps[::-1],
      },
      f"all need the same workdir on a shared disk; here: {self.directory.parent}",
    )
    return steps

  def _first_readable(
    self, steps: list[int], items: tuple[str, ...]
  ) -> tuple[tuple[int, dict[str, Any]] | None, dict[int, Exception]]:
    """Returns the first step that can be read, its content, and errors before it."""
    unreadable = {}
    for step in steps:
      try:
        return (step, self._files.read(step, items)), unreadable
      except READ_ERRORS as error:
        unreadable[step] = error
    return None, unreadable
