"""The content of a checkpoint: its parts, their match with a state, checksums."""

import json
import zlib
from collections.abc import Collection
from typing import Any

import jax
import numpy as np

from fskd_jax.config.fields import without_section
from fskd_jax.messages import join_first
from fskd_jax.training.state import TrainState

ITEMS = ("model", "optimizer")
"""The names of the trees that a checkpoint is divided into."""


def to_items(state: TrainState) -> dict[str, Any]:
  """Splits a state so that evaluation need not read the optimiser."""
  moments = jax.tree_util.tree_leaves_with_path(state.opt_state)
  return {
    "model": {
      "step": state.step,
      "params": state.params,
      "batch_stats": state.batch_stats,
    },
    # By name, because orbax does not restore optax's named tuples as such.
    "optimizer": {"leaves": {leaf_name(path): leaf for path, leaf in moments}},
  }


def match(template: Any, saved: Any, where: str) -> Any:
  """Returns the saved leaves in the template's structure.

  Args:
    template: A tree of the expected arrays.
    saved: The saved tree, whose leaves have the same names.
    where: The checkpoint, for messages.

  Raises:
    ValueError: A leaf is missing, or has another shape or type.
  """
  found = {leaf_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(saved)}
  paths, structure = jax.tree_util.tree_flatten_with_path(template)
  problems = []
  for path, leaf in paths:
    there = found.get(leaf_name(path))
    expected = f"{leaf.dtype}{list(leaf.shape)}"
    came = "nothing" if there is None else f"{there.dtype}{list(there.shape)}"
    if came != expected:
      problems.append(f"{leaf_name(path)}: {came} there, expected {expected}")
  if problems:
    listed = join_first(problems, "\n  ")
    raise ValueError(f"checkpoint {where} does not fit this model:\n  {listed}")
  return structure.unflatten(found[leaf_name(path)] for path, _ in paths)


def leaf_name(path: tuple[Any, ...]) -> str:
  """Returns the dotted name of a leaf, such as "encoder.conv1.kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator=".")


def checksum(tree: Any) -> int:
  """Returns the CRC-32 of the names and bytes of all leaves."""
  total = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    total = zlib.crc32(leaf_name(path).encode(), total)
    total = zlib.crc32(np.asarray(leaf).tobytes(), total)
  return total


def config_checksum(config: dict[str, Any]) -> int:
  """Returns the CRC-32 of a configuration as JSON."""
  known_to_json = json.loads(json.dumps(config))
  return zlib.crc32(json.dumps(known_to_json, sort_keys=True).encode())


def fields(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns the fields of a nested configuration by their dotted names."""
  found = {}
  for name, value in config.items():
    if isinstance(value, dict):
      found |= fields(value, f"{prefix}{name}.")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
      # Sections, such as the sources of a mixture; episodes depend on their order.
      found[prefix + name] = [part["name"] for part in value]
      for part in value:
        found |= fields(part, f"{prefix}{name}.{part['name']}.")
    else:
      found[prefix + name] = value
  return found


def differences(
  saved: dict[str, Any],
  given: dict[str, Any],
  defaults: dict[str, Any],
  may_differ: Collection[str],
) -> list[str]:
  """Returns the fields in which two configurations differ, with both values.

  Args:
    saved: The configuration of a run. Fields that are younger have their default.
    given: The configuration to compare.
    defaults: The configuration of all defaults.
    may_differ: The dotted names of fields or sections that are not compared.
  """
  now, default = (fields(json.loads(json.dumps(x))) for x in (given, defaults))
  plain = {name: without_section(name) for name in now}
  younger = {name: default[plain[name]] for name in now if plain[name] in default}
  there = younger | fields(saved)
  return [
    f"{name}: {there.get(name, 'absent')!r} there, {now.get(name, 'absent')!r} now"
    for name in sorted(there.keys() | now.keys())
    if there.get(name, ...) != now.get(name, ...)
    and not any(
      f"{without_section(name)}.".startswith(f"{free}.") for free in may_differ
    )
  ]
