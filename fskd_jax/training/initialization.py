"""Initial variables of a training: random, pretrained, or parts of runs and files."""

import collections
import logging
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from fskd_jax.buckets import copies
from fskd_jax.config import Config
from fskd_jax.device import processes
from fskd_jax.interop import entries, state_dicts
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.interop.weights import read_config, read_weights
from fskd_jax.messages import join_first
from fskd_jax.training.runs import load_file, load_run

_log = logging.getLogger(__name__)

Patterns = Sequence[tuple[str, str]]
Key = tuple[str, str]
"""Collection and name of an array, ("params", "encoder/conv1/kernel")."""


class Report(NamedTuple):
  """Names of the arrays that were and were not loaded from a source.

  Attributes:
    loaded: Arrays of the network that were replaced.
    missing: Arrays of the network that stay as they were.
    unused: Arrays of the source that were not loaded.
  """

  loaded: list[Key]
  missing: list[Key]
  unused: list[Key]

  def __str__(self) -> str:
    total = len(self.loaded) + len(self.missing)
    return (
      f"loaded {len(self.loaded)} of {total} arrays ({_groups(self.loaded)}); "
      f"not loaded: {_groups(self.missing)}; not used: {_groups(self.unused)}"
    )


def first_variables(variables: Mapping[str, Any], cfg: Config) -> Mapping[str, Any]:
  """Returns the variables that a new training starts with.

  Args:
    variables: Randomly initialised variables of the network.
    cfg: The experiment: `model.pretrained` replaces the encoder, then
      `train.init_from` replaces every array that it holds.

  Raises:
    FileNotFoundError: A run or file does not exist.
    ValueError: A run or file is damaged or does not fit. The message names the arrays.
  """
  if cfg.model.pretrained:
    drawn = variables
    variables = processes.together(
      lambda: pretrained_variables(drawn, cfg.model.pretrained, cfg.model)
    )
  path = cfg.train.init_from
  if not path:
    return variables
  source = _read(str(copies.local(path)), cfg)
  try:
    variables, report = load_parts(variables, source, cfg.train.init_patterns)
  except ValueError as error:
    raise ValueError(f"train.init_from = {path!r}: {error}") from error
  _log.info("train.init_from = %r: %s", path, report)
  return variables


def load_parts(
  variables: Mapping[str, Any], source: Mapping[str, Any], patterns: Patterns = ()
) -> tuple[dict[str, Any], Report]:
  """Replaces the variables of a network by those of the same name in a source.

  Args:
    variables: Variables of the network.
    source: Variables of another network.
    patterns: Pairs of a regular expression and its replacement, see `rename`.

  Returns:
    All variables of the network, and a report.

  Raises:
    ValueError: Nothing is loaded, a pattern matches nothing, or arrays that would be
      loaded differ in shape. The message lists them.
  """
  target, given = _flatten(variables), _flatten(source)
  for pattern, _ in patterns:
    if not any(re.match(pattern, name) for _, name in given):
      raise ValueError(f"no name begins with {pattern!r}; there are {_groups(given)}")
  origin: dict[Key, list[Key]] = collections.defaultdict(list)
  for collection, name in given:
    origin[collection, rename(name, patterns)].append((collection, name))
  loaded = [key for key in target if key in origin]
  problems = [
    f"{name} {np.shape(given[key])}, expected {np.shape(target[collection, name])}"
    for collection, name in loaded
    for key in origin[collection, name]
    if np.shape(given[key]) != np.shape(target[collection, name])
  ]
  problems += [
    f"{key[1]} would be loaded from {' and '.join(name for _, name in origin[key])}"
    for key in loaded
    if len(origin[key]) > 1
  ]
  if problems:
    raise ValueError(
      f"{join_first(problems)}; leave them out with "
      "train.init_patterns = ((NAME, ''), ..)"
    )
  if not loaded:
    raise ValueError(
      f"nothing to load: there are {_groups(given)}, expected {_groups(target)}"
    )
  replaced = {
    key: np.asarray(given[origin[key][0]], np.asarray(target[key]).dtype)
    for key in loaded
  }
  used = {origin[key][0] for key in loaded}
  report = Report(
    loaded,
    [key for key in target if key not in replaced],
    [key for key in given if key not in used],
  )
  return _unflatten(target | replaced), report


def rename(name: str, patterns: Patterns) -> str:
  """Returns the name under which an array is loaded; "" leaves it out.

  Without patterns it is the array's own name. Otherwise the first pattern that matches
  the beginning of the name counts: its replacement, which may refer to groups as in
  `re.sub`, takes the place of the match. A name that no pattern matches is left out.

  Raises:
    ValueError: A replacement refers to a group that its pattern lacks.
  """
  for pattern, replacement in patterns:
    if found := re.match(pattern, name):
      try:
        return found.expand(replacement) + name[found.end() :]
      except (re.error, IndexError) as error:
        raise ValueError(
          f"replacement {replacement!r} of {pattern!r}: {error}"
        ) from error
  return "" if patterns else name


def _read(path: str, cfg: Config) -> Mapping[str, Any]:
  """Reads the variables of a run or a file.

  A file is read by the configuration that it carries, else by this experiment's.
  """
  if processes.together(lambda: _is_run(path)):
    return load_run(path)[0].variables
  return processes.together(lambda: _read_file(path, cfg))


def _is_run(path: str) -> bool:
  if not pathlib.Path(path).exists():
    raise FileNotFoundError(
      f"train.init_from = {path!r}: there is no such run (a folder) or file of weights"
    )
  return pathlib.Path(path).is_dir()


def _read_file(path: str, cfg: Config) -> Mapping[str, Any]:
  if read_config(path) is not None:
    return load_file(path, None).variables
  tensors = entries.without_parallel_prefix(read_weights(path))
  known = [entry for entry in state_dicts.table(cfg) if entry.name in tensors]
  names = {entry.name for entry in known}
  strange = [name for name in tensors if name not in names]
  _log.info("%s: names that this model does not have: %s", path, _shown(strange))
  try:
    return entries.read({name: tensors[name] for name in names}, known)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _flatten(variables: Mapping[str, Any]) -> dict[Key, Any]:
  return {
    (collection, name): leaf
    for collection, tree in variables.items()
    for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
  }


def _unflatten(leaves: Mapping[Key, Any]) -> dict[str, Any]:
  return traverse_util.unflatten_dict(
    {
      (collection, *name.split("/")): leaf
      for (collection, name), leaf in leaves.items()
    }
  )


def _groups(keys: Mapping[Key, Any] | Sequence[Key]) -> str:
  """Lists the first parts of the names, each with the number of arrays below it."""
  counts = collections.Counter("/".join(name.split("/")[:2]) for _, name in keys)
  return _shown([f"{group} ({count})" for group, count in sorted(counts.items())])


def _shown(cases: Sequence[str]) -> str:
  return join_first(cases, ", ") or "none"
