"""Saves and restores checkpoints of a run; the only file that imports orbax.

Arrays go to disk as NumPy arrays of the whole state, with a checksum, so that a
checkpoint does not know which backend or how many devices made it. Saving blocks
until the files are complete, so that a failure is reported where it happens.
"""

import json
import logging
import os
import pathlib
import zlib
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from fskd_jax.device import processes
from fskd_jax.training.state import TrainState

_log = logging.getLogger(__name__)

READ_ERRORS = (ValueError, OSError, KeyError, TypeError)
"""What orbax and the checksum raise on missing, cut or altered files."""


class SavedModel(NamedTuple):
  """What evaluation and export need of a checkpoint.

  Attributes:
    step: training steps done.
    config: the configuration it was trained with, as JSON knows it.
    variables: {"params", "batch_stats"}, NumPy arrays.
  """

  step: int
  config: dict[str, Any]
  variables: dict[str, Any]


class CheckpointStore:
  """The checkpoints in `<workdir>/checkpoints`; all processes call every method."""

  def __init__(self, workdir: str | os.PathLike, keep: int | None = None):
    """Opens the checkpoints of a run.

    Args:
      workdir: made if it is missing and `keep` is given.
      keep: the newest so many are kept. None opens for reading only, which may be
        done while the run is writing.

    Raises:
      FileNotFoundError: opened for reading, but there is no checkpoint folder.
    """
    self.directory = pathlib.Path(workdir).absolute() / "checkpoints"
    self._writable = keep is not None
    if not self._writable and not self.directory.is_dir():
      raise FileNotFoundError(f"{workdir} is no workdir: it has no checkpoints folder")
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      create=self._writable,
      read_only=not self._writable,
      cleanup_tmp_directories=self._writable,
      enable_async_checkpointing=False,
    )
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def save(self, step: int, state: TrainState, config: dict[str, Any]) -> None:
    """Writes a checkpoint, then drops the oldest.

    A step that is there already is left alone.

    Raises:
      OSError: it could not be written; earlier checkpoints are untouched.
    """
    items = _to_items(jax.device_get(state))
    checksums = {name: _checksum(tree) for name, tree in items.items()}
    arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    about = ocp.args.JsonSave({"config": config, "checksums": checksums})
    try:
      self._manager.save(step, args=ocp.args.Composite(about=about, **arrays))
    except (OSError, ValueError) as error:
      raise OSError(
        f"cannot write the checkpoint of step {step} to {self.directory} (disk "
        f"full?); earlier checkpoints are untouched. {_first_line(error)}"
      ) from error

  def restore_latest(self, template: TrainState) -> tuple[TrainState, int] | None:
    """Restores the newest readable checkpoint, or returns None if there is none.

    Unreadable ones are reported and, unless opened for reading, renamed to
    `<step>.unreadable`, so that the run can write that step again.

    Args:
      template: a state of the expected structure, shapes and dtypes.

    Returns:
      The state with NumPy arrays, and its step.

    Raises:
      ValueError: no checkpoint can be read, or it does not fit the template.
    """
    newest = self._newest(("model", "optimizer"))
    if newest is None:
      return None
    step, saved = newest
    items = _match(_to_items(template), saved, f"{self.directory}/{step}")
    leaves = items["optimizer"]["leaves"]
    paths, structure = jax.tree_util.tree_flatten_with_path(template.opt_state)
    opt_state = structure.unflatten(leaves[_name(path)] for path, _ in paths)
    return TrainState(**items["model"], opt_state=opt_state), step

  def restore_model(self) -> SavedModel:
    """Restores the newest readable checkpoint without its optimiser.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: none can be read.
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
      config: nested, as `dataclasses.asdict` returns it.
      may_differ: dotted names of fields or sections, "train.steps" or "eval".

    Raises:
      ValueError: another field differs; lists all of them. Or none can be read.
    """
    newest = self._newest(())
    if newest is None:
      return
    saved = _fields(newest[1]["about"]["config"])
    given = _fields(json.loads(json.dumps(config)))
    differing = [
      f"{name}: {saved.get(name, 'absent')!r} there, {given.get(name, 'absent')!r} now"
      for name in sorted(saved.keys() | given.keys())
      if saved.get(name, ...) != given.get(name, ...)
      and not any(f"{name}.".startswith(f"{free}.") for free in may_differ)
    ]
    if differing:
      raise ValueError(
        f"{self.directory.parent} was trained with another configuration; use a new "
        "workdir or the old values:\n  " + "\n  ".join(differing)
      )

  def close(self) -> None:
    """Releases orbax's threads."""
    self._manager.close()

  def _newest(self, items: tuple[str, ...]) -> tuple[int, dict[str, Any]] | None:
    """Reads the newest checkpoint that can be read, falling back to older ones."""
    self._manager.reload()
    steps = sorted(self._manager.all_steps(), reverse=True)
    # No process may set anything aside before all have listed the same steps.
    processes.check_same(
      lambda: {"the list of checkpoints": sorted(steps)},
      f"all need the same workdir on a shared disk; here: {self.directory.parent}",
    )
    unreadable = []
    for step in steps:
      try:
        saved = self._read(step, items)
      except READ_ERRORS as error:
        _log.warning(
          "Checkpoint %s/%d is unreadable: %s", self.directory, step, _first_line(error)
        )
        unreadable.append(step)
        continue
      if unreadable:
        _log.warning(
          "Falling back from step %s to step %d",
          ", ".join(map(str, unreadable)),
          step,
        )
        self._set_aside(unreadable)
      return step, saved
    if steps:
      raise ValueError(
        f"none of the checkpoints {steps} in {self.directory} is readable"
      )
    return None

  def _read(self, step: int, items: tuple[str, ...]) -> dict[str, Any]:
    arrays = {name: ocp.args.StandardRestore() for name in items}
    args = ocp.args.Composite(about=ocp.args.JsonRestore(), **arrays)
    saved = dict(self._manager.restore(step, args=args).items())
    for name in items:
      if _checksum(saved[name]) != saved["about"]["checksums"][name]:
        raise ValueError(f"checksum of {name!r} differs: the files were altered")
    return saved

  def _set_aside(self, steps: list[int]) -> None:
    if not self._writable:
      return
    if jax.process_index() == 0:
      for step in steps:
        (self.directory / str(step)).rename(self.directory / f"{step}.unreadable")
    multihost_utils.sync_global_devices("fskd_jax: unreadable checkpoints set aside")
    self._manager.reload()


def _to_items(state: TrainState) -> dict[str, Any]:
  """Splits a state so that evaluation can leave the optimiser unread."""
  moments = jax.tree_util.tree_leaves_with_path(state.opt_state)
  return {
    "model": {
      "step": state.step,
      "params": state.params,
      "batch_stats": state.batch_stats,
    },
    # By name: orbax would turn optax's named tuples into something else.
    "optimizer": {"leaves": {_name(path): leaf for path, leaf in moments}},
  }


def _match(template: Any, saved: Any, where: str) -> Any:
  """Returns the saved leaves in the template's structure."""
  found = {_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(saved)}
  paths, structure = jax.tree_util.tree_flatten_with_path(template)
  problems = []
  for path, leaf in paths:
    there = found.get(_name(path))
    expected = f"{leaf.dtype}{list(leaf.shape)}"
    came = "nothing" if there is None else f"{there.dtype}{list(there.shape)}"
    if came != expected:
      problems.append(f"{_name(path)}: {came} there, expected {expected}")
  if problems:
    more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
    listed = "\n  ".join(problems[:8])
    raise ValueError(f"checkpoint {where} does not fit this model:\n  {listed}{more}")
  return structure.unflatten(found[_name(path)] for path, _ in paths)


def _name(path: tuple[Any, ...]) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=".")


def _checksum(tree: Any) -> int:
  total = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    total = zlib.crc32(_name(path).encode(), total)
    total = zlib.crc32(np.asarray(leaf).tobytes(), total)
  return total


def _fields(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  fields = {}
  for name, value in config.items():
    if isinstance(value, dict):
      fields |= _fields(value, f"{prefix}{name}.")
    else:
      fields[prefix + name] = value
  return fields


def _first_line(error: BaseException) -> str:
  return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
