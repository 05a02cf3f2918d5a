"""The files of checkpoints in a folder; the only module that imports orbax.

Every process reads by itself, and one alone writes, so that orbax never makes a process
wait for another one: in a thread beside the training that would never end.
"""

import contextlib
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp

from fskd_jax.training import checkpoint_content as content
from fskd_jax.training.plain_path import plain_path

_log = logging.getLogger(__name__)

READ_ERRORS = (ValueError, OSError, KeyError, TypeError)
"""Errors that orbax and the checksum raise for missing, cut or altered files."""

UNTOUCHED = "earlier checkpoints are untouched"


class CheckpointFiles:
  """The checkpoints in a folder, which need not be there; close it after use."""

  def __init__(self, directory: pathlib.Path):
    """Opens the folder.

    Raises:
      ValueError: orbax could not take the path as it is, and no other leads there.
    """
    self.directory = directory
    with contextlib.ExitStack() as opened:
      plain = opened.enter_context(plain_path(directory.parent))
      self._plain = plain / directory.name
      # Not orbax's CheckpointManager: it drops old checkpoints before the new one is
      # read back, and cannot list a folder that another process removes files from.
      # StandardCheckpointHandler reads, too, but asks TensorStore to describe every
      # array: slow, and what tensorstore 0.1.86 says it never frees, 1 MB for 150.
      self._writer = opened.enter_context(_alone(ocp.StandardCheckpointHandler))
      self._reader = opened.enter_context(_alone(ocp.PyTreeCheckpointHandler))
      self._opened = opened.pop_all()

  def close(self) -> None:
    """Closes orbax's checkpointers."""
    self._opened.close()

  def steps(self) -> list[int]:
    """Lists the checkpoints, newest first."""
    if not self.directory.is_dir():
      return []
    names = [path.name for path in self.directory.iterdir() if path.is_dir()]
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

  def write(
    self,
    step: int,
    items: dict[str, Any],
    config: dict[str, Any],
    progress: dict[str, Any],
  ) -> None:
    """Writes a checkpoint and reads it back.

    Args:
      step: The number of training steps done.
      items: Trees of NumPy arrays by name, see `checkpoint_content.to_items`.
      config: The configuration of the training.
      progress: What else a resumed run has to know.

    Raises:
      OSError: It could not be written or read back.
    """
    checksums = {name: content.checksum(tree) for name, tree in items.items()}
    checksums["config"] = content.config_checksum(config)
    checksums["progress"] = content.config_checksum(progress)
    arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    about = ocp.args.JsonSave(
      {"config": config, "progress": progress, "checksums": checksums}
    )
    try:
      args = ocp.args.Composite(about=about, **arrays)
      self._writer.save(self._plain / str(step), args=args)
    except (OSError, ValueError) as error:
      raise OSError(
        f"cannot write the checkpoint of step {step} to {self.directory} (disk "
        f"full?); {UNTOUCHED}. {self.first_line(error)}"
      ) from error
    try:
      self.read(step, tuple(items))
    except READ_ERRORS as error:
      raise OSError(
        f"the checkpoint of step {step} in {self.directory} was written but cannot be "
        f"read back; {UNTOUCHED}. {self.first_line(error)}"
      ) from error

  def read(self, step: int, names: Sequence[str]) -> dict[str, Any]:
    """Reads items of a checkpoint, and "about": what was written beside the arrays.

    Raises:
      ValueError, OSError, KeyError, TypeError: It is not there or damaged.
    """
    arrays = {name: ocp.args.PyTreeRestore() for name in names}
    args = ocp.args.Composite(about=ocp.args.JsonRestore(), **arrays)
    saved = dict(self._reader.restore(self._plain / str(step), args=args).items())
    found = {name: content.checksum(saved[name]) for name in names}
    expected = saved["about"]["checksums"]
    for part in ("config", "progress"):
      if part in expected:  # checkpoints from before November 2026 have none
        found[part] = content.config_checksum(saved["about"][part])
    for name, value in found.items():
      if value != expected[name]:
        raise ValueError(f"checksum of {name!r} differs: the files were altered")
    return saved

  def tidy_up(self) -> None:
    """Creates the folder, and removes the remains of a killed save."""
    self.directory.mkdir(exist_ok=True)
    for unfinished in self.directory.glob("*.orbax-checkpoint-tmp*"):
      for wait in (0.1, 1.0, 5.0, 0.0):
        try:
          shutil.rmtree(unfinished)
          break
        except OSError:  # threads of a save that failed may write there for a while
          if not wait:
            raise
          time.sleep(wait)

  def drop_old(self, keep: int) -> None:
    """Removes all checkpoints but the newest."""
    for step in self.steps()[keep:]:
      try:
        shutil.rmtree(self.directory / str(step))
      except OSError as error:  # a checkpoint that stays only takes up space
        _log.warning("Checkpoint %d cannot be removed: %s", step, error)

  def set_aside(self, steps: Collection[int]) -> None:
    """Renames checkpoints to `<step>.unreadable`."""
    for step in steps:
      aside = self.directory / f"{step}.unreadable"
      shutil.rmtree(aside, ignore_errors=True)  # of the same step, earlier
      (self.directory / str(step)).rename(aside)

  def first_line(self, error: BaseException) -> str:
    """Returns an error in one line, with the path as the user knows it."""
    lines = str(error).replace(str(self._plain), str(self.directory)).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _alone(arrays: Callable[..., Any]) -> ocp.Checkpointer:
  """Returns a checkpointer of this process, which waits for no other one.

  Args:
    arrays: The handler of trees of arrays.
  """
  own = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"fskd_{own}"
  )
  # Those that orbax makes by itself would wait for all processes.
  kinds = {"about": ocp.JsonCheckpointHandler} | dict.fromkeys(content.ITEMS, arrays)
  handlers: dict[str, Any] = {
    n: kind(multiprocessing_options=alone) for n, kind in kinds.items()
  }
  options = ocp.CompositeOptions(multiprocessing_options=alone)
  handler = ocp.CompositeCheckpointHandler(composite_options=options, **handlers)
  return ocp.Checkpointer(handler, multiprocessing_options=alone)
