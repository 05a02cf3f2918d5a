"""Splits species, images and keypoint types into train, validation, seen and unseen."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from fskd_jax.config import DataConfig
from fskd_jax.data.annotations import Instance, KeypointDataset

_OTHER_SIDE = {"left": "right", "right": "left"}


class AuxiliaryTypes(NamedTuple):
  """Interpolated keypoint types: points on the line between two base types.

  Attributes:
    ends: int32 [a 2], start and end, numbers in the vocabulary.
    knots: float32 [a], position on the line, 0 at the start, 1 at the end.
  """

  ends: Int32[np.ndarray, "a 2"]
  knots: Float32[np.ndarray, " a"]


class KeypointTypes(NamedTuple):
  """The keypoint types of an experiment, as numbers in the vocabulary."""

  base: Int32[np.ndarray, " n"]
  novel: Int32[np.ndarray, " n"]
  auxiliary: AuxiliaryTypes


class Splits(NamedTuple):
  """The instances of every split.

  Attributes:
    train: trained on.
    validation: for choosing checkpoints and settings; empty when not asked for.
    seen: images of the trained-on species for testing.
    unseen: species (with one species: images) never trained on.
  """

  train: tuple[Instance, ...]
  validation: tuple[Instance, ...]
  seen: tuple[Instance, ...]
  unseen: tuple[Instance, ...]


def keypoint_ids(
  names: Sequence[str], vocabulary: Sequence[str]
) -> Int32[np.ndarray, " n"]:
  """Looks keypoint names up in the vocabulary.

  Raises:
    ValueError: a name that is not there (close matches are listed) or is repeated.
  """
  numbers = {name: number for number, name in enumerate(vocabulary)}
  unknown = [name for name in names if name not in numbers]
  if unknown:
    close = {name: difflib.get_close_matches(name, vocabulary) for name in unknown}
    hints = "; ".join(f"{name!r} (close: {close[name] or 'none'})" for name in unknown)
    raise ValueError(
      f"unknown keypoint names: {hints}; the vocabulary is {list(vocabulary)}"
    )
  if len(set(names)) < len(names):
    raise ValueError(f"repeated keypoint names: {list(names)}")
  return np.array([numbers[name] for name in names], np.int32)


def flip_permutation(
  keypoint_names: Sequence[str], flip_pairs: Sequence[tuple[str, str]] = ()
) -> Int32[np.ndarray, " v"]:
  """Says which type every keypoint type shows in a mirrored image.

  Args:
    keypoint_names: the vocabulary.
    flip_pairs: names that change places. Default: names that differ by left and
      right; a name without a partner stays itself.

  Returns:
    int32 [v]: in the mirror, type i lies where type `permutation[i]` was.

  Raises:
    ValueError: a pair with an unknown name, or a name in two pairs.
  """
  names = list(keypoint_names)
  pairs = list(flip_pairs) or [
    (name, mirror_name(name))
    for name in names
    if name < mirror_name(name) and mirror_name(name) in names
  ]
  permutation = np.arange(len(names), dtype=np.int32)
  numbers = keypoint_ids([name for pair in pairs for name in pair], names)
  starts, ends = numbers.reshape(-1, 2).T
  permutation[starts], permutation[ends] = ends, starts
  return permutation


def keypoint_types(cfg: DataConfig, vocabulary: Sequence[str]) -> KeypointTypes:
  """Resolves the names in the config.

  Auxiliary types come path by path, and knot by knot within a path.

  Raises:
    ValueError: an unknown or repeated name, a name both base and novel, or an
      auxiliary path that does not join two base types.
  """
  both = set(cfg.base) & set(cfg.novel)
  if both:
    raise ValueError(f"keypoint types both base and novel: {sorted(both)}")
  strange = [p for p in cfg.auxiliary_paths if len(p) != 2 or not set(p) <= {*cfg.base}]
  if strange:
    raise ValueError(
      f"auxiliary paths must join two base types, not {strange}; "
      f"the base types are {list(cfg.base)}"
    )
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


def split_instances(dataset: KeypointDataset, cfg: DataConfig) -> Splits:
  """Splits a data set by species, and by images within the trained-on species.

  Several species: `unseen_species` and `validation_species` (or, where no names
  are given, seeded fractions of all species, at least one each) are never trained
  on; `heldout_fraction` of the images of every other species becomes `seen`. An
  image belongs to one split: where it shows species of several, the one first in
  unseen, validation, seen, train gets it, and its other animals are not used.

  One species: the images are split. `heldout_fraction` of them becomes `unseen`
  and `validation_fraction` of them `validation`; when the latter is 0, the
  held-out images are halved between the two. `seen` is as many training images as
  `unseen` has: what the detector does on images it knows.

  Raises:
    ValueError: a species that is not in the data set, a species both unseen and
      for validation, or nothing left to train on.
  """
  rng = np.random.default_rng(cfg.split_seed)
  species = sorted({instance.species for instance in dataset.instances})
  named = (*cfg.unseen_species, *cfg.validation_species)
  if set(named) - {*species}:
    raise ValueError(
      f"species {sorted(set(named) - {*species})} are not in {dataset.name}, "
      f"which has {species}"
    )
  both = set(cfg.unseen_species) & set(cfg.validation_species)
  if both:
    raise ValueError(f"species both unseen and for validation: {sorted(both)}")
  if len(species) == 1 and not named:
    splits = _split_images(dataset.instances, cfg, rng)
  else:
    splits = _split_species(dataset.instances, species, cfg, rng)
  if not splits.train:
    raise ValueError(
      f"nothing is left to train on in {dataset.name}: of species {species}, "
      f"unseen {sorted({i.species for i in splits.unseen})}, "
      f"validation {sorted({i.species for i in splits.validation})}"
    )
  return splits


def _split_species(
  instances: Sequence[Instance],
  species: Sequence[str],
  cfg: DataConfig,
  rng: np.random.Generator,
) -> Splits:
  fixed = {*cfg.unseen_species, *cfg.validation_species}
  free = [name for name in rng.permutation(species).tolist() if name not in fixed]
  unseen = {*cfg.unseen_species} or _take(free, cfg.unseen_fraction, len(species))
  free = [name for name in free if name not in unseen]
  validation = {*cfg.validation_species} or _take(
    free, cfg.validation_fraction, len(species)
  )

  unseen_images = _images(i for i in instances if i.species in unseen)
  validation_images = _images(i for i in instances if i.species in validation)
  rest = _outside(instances, unseen_images | validation_images)
  heldout = set()
  for name in sorted({instance.species for instance in rest}):
    images = sorted(_images(i for i in rest if i.species == name))
    shuffled = rng.permutation(images).tolist()
    heldout |= _take(shuffled, cfg.heldout_fraction, len(images))
  return Splits(
    train=_outside(rest, heldout),
    validation=tuple(
      i for i in instances if i.species in validation and i.image not in unseen_images
    ),
    seen=_inside(rest, heldout),
    unseen=tuple(i for i in instances if i.species in unseen),
  )


def _split_images(
  instances: Sequence[Instance], cfg: DataConfig, rng: np.random.Generator
) -> Splits:
  images = rng.permutation(sorted(_images(instances))).tolist()
  unseen = _take(images, cfg.heldout_fraction, len(images))
  validation = _take(images[len(unseen) :], cfg.validation_fraction, len(images))
  if not validation:
    validation = _take(sorted(unseen), 0.5 if len(unseen) > 1 else 0.0, len(unseen))
    unseen -= validation
  train = images[len(unseen) + len(validation) :]
  return Splits(
    train=_inside(instances, set(train)),
    validation=_inside(instances, validation),
    seen=_inside(instances, set(train[: len(unseen)])),
    unseen=_inside(instances, unseen),
  )


def _take(candidates: Sequence, fraction: float, total: int) -> set:
  """Takes `fraction` of `total` from the front, at least one if any are wanted."""
  return set(candidates[: max(1, round(fraction * total))] if fraction > 0 else ())


def _images(instances: Iterable[Instance]) -> set[int]:
  return {instance.image for instance in instances}


def _inside(instances: Iterable[Instance], images: set[int]) -> tuple[Instance, ...]:
  return tuple(instance for instance in instances if instance.image in images)


def _outside(instances: Iterable[Instance], images: set[int]) -> tuple[Instance, ...]:
  return tuple(instance for instance in instances if instance.image not in images)


def mirror_name(name: str) -> str:
  """Returns a name with left and right exchanged."""

  def other(match: re.Match) -> str:
    word = match.group()
    swapped = _OTHER_SIDE[word.lower()]
    if word.isupper():
      return swapped.upper()
    return swapped.capitalize() if word[0].isupper() else swapped

  return re.sub("left|right", other, name, flags=re.IGNORECASE)
