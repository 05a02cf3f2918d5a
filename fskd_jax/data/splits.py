"""Splits species and images into train, validation, seen and unseen."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fskd_jax.config import DataConfig
from fskd_jax.data import keypoint_types
from fskd_jax.data.annotations import Instance, KeypointDataset


class Splits(NamedTuple):
  """The instances of every split.

  Attributes:
    train: The instances to train on.
    validation: Instances for choosing checkpoints and settings; empty if not asked for.
    seen: Test instances of the species trained on.
    unseen: Instances of species never trained on; with one species, of images.
  """

  train: tuple[Instance, ...]
  validation: tuple[Instance, ...]
  seen: tuple[Instance, ...]
  unseen: tuple[Instance, ...]


def check_names(cfg: DataConfig, dataset: KeypointDataset) -> None:
  """Checks all names of keypoints and species in the configuration.

  Raises:
    ValueError: Some names are wrong; the message lists all with their fields.
  """
  faults = keypoint_types.faults_of(cfg, dataset.keypoint_names)
  faults += _species_faults(cfg, dataset)
  if faults:
    raise ValueError("; ".join(faults))


def _species_faults(cfg: DataConfig, dataset: KeypointDataset) -> list[str]:
  species = sorted({instance.species for instance in dataset.instances})
  by_field = {
    "data.unseen_species": cfg.unseen_species,
    "data.validation_species": cfg.validation_species,
  }
  faults = [
    f"{field}: species {strange} are not in {dataset.name}, which has {species}"
    for field, names in by_field.items()
    if (strange := sorted({*names} - {*species}))
  ]
  both = {*cfg.unseen_species} & {*cfg.validation_species}
  if both:
    faults.append(
      f"data.validation_species: species both unseen and for validation: {sorted(both)}"
    )
  return faults


def split_instances(dataset: KeypointDataset, cfg: DataConfig) -> Splits:
  """Splits a data set by species, and by images within the trained-on species.

  Where `group_pattern` is set, "image" means all images of one group, and fractions are
  of the groups.

  With several species, `unseen_species` and `validation_species` (or, if no names are
  given, seeded fractions of all species, at least one each) are never trained on;
  `heldout_fraction` of the images of every other species becomes `seen`. An image
  belongs to one split: if it shows species of several, the first of unseen, validation,
  seen and train gets it, and its other animals are not used.

  With one species, the images are split. `heldout_fraction` of them becomes `unseen`
  and `validation_fraction` of them `validation`; if the latter is 0, the held-out
  images are halved between the two. `seen` has as many training images as `unseen` has
  images: it measures the detector on images it knows.

  Raises:
    ValueError: A species is not in the data set, or both unseen and for validation, an
      image has no group, or nothing is left to train on.
  """
  rng = np.random.default_rng(cfg.split_seed)
  species = sorted({instance.species for instance in dataset.instances})
  faults = _species_faults(cfg, dataset)
  if faults:
    raise ValueError("; ".join(faults))
  instances = with_groups(dataset, cfg.group_pattern)
  named = (*cfg.unseen_species, *cfg.validation_species)
  if len(species) == 1 and not named:
    splits = _split_images(instances, cfg, rng)
  else:
    splits = _split_species(instances, species, cfg, rng)
  if not splits.train:
    raise ValueError(
      f"nothing is left to train on in {dataset.name}: of species {species}, "
      f"unseen {sorted({i.species for i in splits.unseen})}, "
      f"validation {sorted({i.species for i in splits.validation})}"
    )
  return splits


def with_groups(dataset: KeypointDataset, pattern: str) -> tuple[Instance, ...]:
  """Returns the instances of a data set with the groups of their images.

  Args:
    dataset: The data set.
    pattern: Regular expression of `DataConfig.group_pattern`; "" changes nothing.

  Raises:
    ValueError: It is not found in the name of an image.
  """
  if not pattern:
    return dataset.instances
  groups = {}
  for number in sorted({instance.image for instance in dataset.instances}):
    name = dataset.image_names[number]
    found = re.search(pattern, name)
    if not found:
      raise ValueError(
        f"data.group_pattern = {pattern!r} is not found in the image name {name!r} of "
        f"{dataset.name}"
      )
    groups[number] = found[1] if found.re.groups else found[0]
  return tuple(
    dataclasses.replace(instance, group=groups[instance.image])
    for instance in dataset.instances
  )


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

  of_unseen = _units(i for i in instances if i.species in unseen)
  of_validation = _units(i for i in instances if i.species in validation)
  rest = _outside(instances, of_unseen | of_validation)
  heldout = set()
  for name in sorted({instance.species for instance in rest}):
    units = sorted(_units(i for i in rest if i.species == name))
    shuffled = rng.permutation(units).tolist()
    heldout |= _take(shuffled, cfg.heldout_fraction, len(units))
  return Splits(
    train=_outside(rest, heldout),
    validation=tuple(
      i for i in instances if i.species in validation and _unit(i) not in of_unseen
    ),
    seen=_inside(rest, heldout),
    unseen=tuple(i for i in instances if i.species in unseen),
  )


def _split_images(
  instances: Sequence[Instance], cfg: DataConfig, rng: np.random.Generator
) -> Splits:
  units = rng.permutation(sorted(_units(instances))).tolist()
  unseen = _take(units, cfg.heldout_fraction, len(units))
  validation = _take(units[len(unseen) :], cfg.validation_fraction, len(units))
  if not validation:
    validation = _take(sorted(unseen), 0.5 if len(unseen) > 1 else 0.0, len(unseen))
    unseen -= validation
  train = units[len(unseen) + len(validation) :]
  return Splits(
    train=_inside(instances, set(train)),
    validation=_inside(instances, validation),
    seen=_inside(instances, set(train[: len(unseen)])),
    unseen=_inside(instances, unseen),
  )


def _take(candidates: Sequence, fraction: float, total: int) -> set:
  """Returns the first `fraction * total` candidates; at least one if fraction > 0."""
  return set(candidates[: max(1, round(fraction * total))] if fraction > 0 else ())


def _unit(instance: Instance) -> str | int:
  """Returns what a split must not divide: the group of the image, or the image."""
  return instance.group or instance.image


def _units(instances: Iterable[Instance]) -> set:
  return {_unit(instance) for instance in instances}


def _inside(instances: Iterable[Instance], units: set) -> tuple[Instance, ...]:
  return tuple(instance for instance in instances if _unit(instance) in units)


def _outside(instances: Iterable[Instance], units: set) -> tuple[Instance, ...]:
  return tuple(instance for instance in instances if _unit(instance) not in units)
