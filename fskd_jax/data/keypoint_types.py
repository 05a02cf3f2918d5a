"""Keypoint types as numbers in the vocabulary: base, novel, auxiliary, and mirrored."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from fskd_jax.config import DataConfig
from fskd_jax.data import sides


class AuxiliaryTypes(NamedTuple):
  """Interpolated keypoint types: points on the line between two base types.

  Attributes:
    ends: int32 [a 2], the start and end types, as numbers in the vocabulary.
    knots: float32 [a], the position on the line, 0 at the start, 1 at the end.
  """

  ends: Int32[np.ndarray, "a 2"]
  knots: Float32[np.ndarray, " a"]


class KeypointTypes(NamedTuple):
  """The keypoint types of an experiment, as numbers in the vocabulary."""

  base: Int32[np.ndarray, " n"]
  novel: Int32[np.ndarray, " n"]
  auxiliary: AuxiliaryTypes


def look_up(cfg: DataConfig, vocabulary: Sequence[str]) -> KeypointTypes:
  """Looks up the keypoint types that the configuration names.

  Auxiliary types are ordered by path, and by knot within a path.

  Raises:
    ValueError: A name is unknown, repeated, or both base and novel, or an auxiliary
      path does not join two base types.
  """
  faults = faults_of(cfg, vocabulary)
  if faults:
    raise ValueError("; ".join(faults))
  paths = [keypoint_ids(path, vocabulary) for path in cfg.auxiliary_paths]
  ends = np.array(paths, np.int32).reshape(-1, 2)
  return KeypointTypes(
    base=keypoint_ids(cfg.base, vocabulary),
    novel=keypoint_ids(cfg.novel, vocabulary),
    auxiliary=AuxiliaryTypes(
      ends=np.repeat(ends, len(cfg.auxiliary_knots), axis=0),
      knots=np.tile(np.array(cfg.auxiliary_knots, np.float32), len(ends)),
    ),
  )


def flip_permutation(
  keypoint_names: Sequence[str], flip_pairs: Sequence[tuple[str, str]] = ()
) -> Int32[np.ndarray, " v"]:
  """Returns the permutation of keypoint types in a mirrored image.

  Args:
    keypoint_names: The vocabulary.
    flip_pairs: Pairs of names that a mirror exchanges. Default: names that differ in
      their side (`sides.find`); a name without a partner stays itself.

  Returns:
    int32 [v]; in the mirror, type i lies where type `permutation[i]` was.

  Raises:
    ValueError: A pair has an unknown name, or a name is in two pairs.
  """
  names = list(keypoint_names)
  pairs = list(flip_pairs) or sides.find(names).pairs
  permutation = np.arange(len(names), dtype=np.int32)
  numbers = keypoint_ids([name for pair in pairs for name in pair], names)
  starts, ends = numbers.reshape(-1, 2).T
  permutation[starts], permutation[ends] = ends, starts
  return permutation


def keypoint_ids(
  names: Sequence[str], vocabulary: Sequence[str]
) -> Int32[np.ndarray, " n"]:
  """Looks keypoint names up in the vocabulary.

  Raises:
    ValueError: A name is unknown (the message lists close ones) or repeated.
  """
  faults = _name_faults(names, vocabulary)
  if faults:
    raise ValueError(f"{'; '.join(faults)}; the vocabulary is {list(vocabulary)}")
  numbers = {name: number for number, name in enumerate(vocabulary)}
  return np.array([numbers[name] for name in names], np.int32)


def faults_of(cfg: DataConfig, vocabulary: Sequence[str]) -> list[str]:
  """Returns what is wrong with the names of keypoints in the configuration."""
  paths, pairs = (
    tuple(name for path in field for name in path)
    for field in (cfg.auxiliary_paths, cfg.flip_pairs)
  )
  by_field = {
    "data.base": cfg.base,
    "data.novel": cfg.novel,
    "data.auxiliary_paths": tuple(dict.fromkeys(paths)),  # paths may share ends
    "data.flip_pairs": pairs,
  }
  faults = [
    f"{field}: {fault}"
    for field, names in by_field.items()
    for fault in _name_faults(names, vocabulary)
  ]
  if faults:
    faults.append(f"the keypoint names of the data set are {list(vocabulary)}")
  both = set(cfg.base) & set(cfg.novel)
  if both:
    faults.append(f"data.novel: keypoint types both base and novel: {sorted(both)}")
  strange = [
    path
    for path in cfg.auxiliary_paths
    if len(path) != 2 or ({*path} <= {*vocabulary} and not {*path} <= {*cfg.base})
  ]
  if strange:
    faults.append(
      f"data.auxiliary_paths: must join two types of data.base = {list(cfg.base)}, "
      f"not {strange}"
    )
  return faults


def _name_faults(names: Sequence[str], vocabulary: Sequence[str]) -> list[str]:
  unknown = [name for name in dict.fromkeys(names) if name not in vocabulary]
  faults = []
  if unknown:
    close = {name: difflib.get_close_matches(name, vocabulary) for name in unknown}
    hints = [f"{n!r} (close: {close[n]})" if close[n] else repr(n) for n in unknown]
    faults.append(f"unknown keypoint names: {', '.join(hints)}")
  if len(set(names)) < len(names):
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    faults.append(f"repeated keypoint names: {repeated}")
  return faults
