"""Saves and restores checkpoints of a run; the only file that imports orbax.

Checkpoints hold NumPy arrays of the whole state, with a checksum, so they do not
depend on the backend or the number of devices that wrote them. Saving blocks until the
files are complete, so a failure is reported where it happens.
"""

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from fskd_jax.config import Config, to_dict
from fskd_jax.config.fields import without_section
from fskd_jax.device import processes
from fskd_jax.training import checkpoint_content as content
from fskd_jax.training import workdir as workdirs
from fskd_jax.training.plain_path import plain_path
from fskd_jax.training.state import TrainState

_log = logging.getLogger(__name__)

READ_ERRORS = (ValueError, OSError, KeyError, TypeError)
"""Errors that orbax and the checksum raise for missing, cut or altered files."""

_LISTINGS = 20
"""Number of attempts of a reader to list checkpoints while a training replaces them."""

_ITEMS = ("model", "optimizer")


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
    self._keep, self._writable = keep, keep is not None
    if not self._writable and not self.directory.is_dir():
      raise FileNotFoundError(f"{workdir} is no workdir: it has no checkpoints folder")
    with contextlib.ExitStack() as opened:
      if self._writable:
        self._lease = opened.enter_context(workdirs.held_for_writing(folder))
        processes.together(self._tidy_up if jax.process_index() == 0 else lambda: None)
      plain = opened.enter_context(plain_path(self.directory.parent))
      self._plain = plain / "checkpoints"
      # Not orbax's CheckpointManager: it drops old checkpoints before the new one is
      # read back, and cannot list a folder that another process removes files from.
      handler = ocp.CompositeCheckpointHandler()
      self._orbax = opened.enter_context(ocp.Checkpointer(handler))
      self._opened = opened.pop_all()

  def save(
    self,
    step: int,
    state: TrainState,
    config: dict[str, Any],
    progress: Mapping[str, Any] | None = None,
  ) -> None:
    """Writes a checkpoint, reads it back, and only then drops the oldest.

    A step that is already saved is left alone.

    Args:
      step: The number of training steps done.
      state: The state after them.
      config: The configuration of the training.
      progress: What else a resumed run has to know, as JSON can hold it.

    Raises:
      OSError: The checkpoint could not be written or read back. Earlier checkpoints are
        untouched.
      ValueError: Another training has taken over the workdir.
    """
    is_main = jax.process_index() == 0
    processes.together(self._lease.check if is_main else lambda: None)
    if step in self._steps():
      return
    items = content.to_items(jax.device_get(state))
    checksums = {name: content.checksum(tree) for name, tree in items.items()}
    progress = dict(progress or {})
    checksums["config"] = content.config_checksum(config)
    checksums["progress"] = content.config_checksum(progress)
    arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    about = ocp.args.JsonSave(
      {"config": config, "progress": progress, "checksums": checksums}
    )
    try:
      args = ocp.args.Composite(about=about, **arrays)
      self._orbax.save(self._plain / str(step), args=args)
    except (OSError, ValueError) as error:
      raise OSError(
        f"cannot write the checkpoint of step {step} to {self.directory} (disk "
        f"full?); earlier checkpoints are untouched. {self._first_line(error)}"
      ) from error
    try:
      self._read(step, _ITEMS)
    except READ_ERRORS as error:
      raise OSError(
        f"the checkpoint of step {step} in {self.directory} was written but cannot be "
        f"read back; earlier checkpoints are untouched. {self._first_line(error)}"
      ) from error
    self._drop_old()

  def restore_latest(self, template: TrainState) -> SavedRun | None:
    """Restores the newest readable checkpoint, or returns None without checkpoints.

    Unreadable checkpoints are reported and, if the store is open for writing, renamed
    to `<step>.unreadable`, so that the run can write that step again.

    Args:
      template: A state of the expected structure, shapes and dtypes.

    Raises:
      ValueError: No checkpoint can be read, or the newest does not fit the template.
    """
    newest = self._newest(_ITEMS)
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
    given = content.fields(json.loads(json.dumps(config)))
    # A run that is older than a field was trained as with the field's default.
    defaults = content.fields(json.loads(json.dumps(to_dict(Config()))))
    plain = {name: without_section(name) for name in given}
    younger = {name: defaults[plain[name]] for name in given if plain[name] in defaults}
    saved = younger | content.fields(newest[1]["about"]["config"])
    differing = [
      f"{name}: {saved.get(name, 'absent')!r} there, {given.get(name, 'absent')!r} now"
      for name in sorted(saved.keys() | given.keys())
      if saved.get(name, ...) != given.get(name, ...)
      and not any(
        f"{without_section(name)}.".startswith(f"{free}.") for free in may_differ
      )
    ]
    if differing:
      raise ValueError(
        f"{self.directory.parent} was trained with another configuration; use a new "
        "workdir or the old values:\n  " + "\n  ".join(differing)
      )

  def close(self) -> None:
    """Closes orbax's checkpointer, and gives the workdir back to other writers."""
    self._opened.close()

  def _newest(self, items: tuple[str, ...]) -> tuple[int, dict[str, Any]] | None:
    """Reads the newest readable checkpoint, falling back to older ones."""
    for _ in range(_LISTINGS):
      steps = self._steps()
      found, unreadable = self._first_readable(steps, items)
      if found is not None and not unreadable:
        break
      if self._writable or jax.process_count() > 1 or self._steps() == steps:
        break  # otherwise a training has replaced the listed ones by newer ones
    for step, error in unreadable.items():
      _log.warning(
        "Checkpoint %s/%d is unreadable: %s",
        self.directory,
        step,
        self._first_line(error),
      )
    if found is None and steps:
      raise ValueError(
        f"none of the checkpoints {steps} in {self.directory} is readable"
      )
    if found is not None and unreadable:
      failed = ", ".join(map(str, unreadable))
      _log.warning("Falling back from step %s to step %d", failed, found[0])
      self._set_aside(unreadable)
    return found

  def _steps(self) -> list[int]:
    """Lists the checkpoints, newest first."""
    there = self.directory.is_dir()
    paths = (
      [path for path in self.directory.iterdir() if path.is_dir()] if there else []
    )
    steps = [int(path.name) for path in paths if path.name.isdecimal()]
    # All processes must list the same steps before one sets any aside.
    processes.check_same(
      lambda: {
        "the folder of checkpoints": "there" if there else "missing",
        "the list of checkpoints": sorted(steps),
      },
      f"all need the same workdir on a shared disk; here: {self.directory.parent}",
    )
    return sorted(steps, reverse=True)

  def _first_readable(
    self, steps: list[int], items: tuple[str, ...]
  ) -> tuple[tuple[int, dict[str, Any]] | None, dict[int, Exception]]:
    """Returns the first step that can be read, its content, and errors before it."""
    unreadable = {}
    for step in steps:
      try:
        return (step, self._read(step, items)), unreadable
      except READ_ERRORS as error:
        unreadable[step] = error
    return None, unreadable

  def _read(self, step: int, items: tuple[str, ...]) -> dict[str, Any]:
    arrays = {name: ocp.args.StandardRestore() for name in items}
    args = ocp.args.Composite(about=ocp.args.JsonRestore(), **arrays)
    saved = dict(self._orbax.restore(self._plain / str(step), args=args).items())
    found = {name: content.checksum(saved[name]) for name in items}
    expected = saved["about"]["checksums"]
    for part in ("config", "progress"):
      if part in expected:  # checkpoints from before November 2026 have none
        found[part] = content.config_checksum(saved["about"][part])
    for name, value in found.items():
      if value != expected[name]:
        raise ValueError(f"checksum of {name!r} differs: the files were altered")
    return saved

  def _tidy_up(self) -> None:
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

  def _drop_old(self) -> None:
    steps = self._steps()
    if jax.process_index() == 0:
      for step in steps[self._keep :]:
        try:
          shutil.rmtree(self.directory / str(step))
        except OSError as error:  # a checkpoint that stays only takes up space
          _log.warning("Checkpoint %d cannot be removed: %s", step, error)
    multihost_utils.sync_global_devices("fskd_jax: old checkpoints dropped")

  def _set_aside(self, steps: Collection[int]) -> None:
    if not self._writable:
      return
    if jax.process_index() == 0:
      for step in steps:
        aside = self.directory / f"{step}.unreadable"
        shutil.rmtree(aside, ignore_errors=True)  # of the same step, earlier
        (self.directory / str(step)).rename(aside)
    multihost_utils.sync_global_devices("fskd_jax: unreadable checkpoints set aside")

  def _first_line(self, error: BaseException) -> str:
    lines = str(error).replace(str(self._plain), str(self.directory)).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
