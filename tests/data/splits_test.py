import dataclasses

import numpy as np
import pytest

from fskd_jax.config import DataConfig
from fskd_jax.data import splits
from fskd_jax.data.annotations import Instance, KeypointDataset


def _dataset(pairs: list[tuple[int, str]]) -> KeypointDataset:
  instances = tuple(
    Instance(
      instance_id=i,
      image=image,
      image_size=(8, 8),
      species=species,
      box=(0, 0, 8, 8),
      keypoints=np.zeros((1, 2), np.float32),
      visible=np.ones(1, bool),
    )
    for i, (image, species) in enumerate(pairs)
  )
  return KeypointDataset(
    name="zoo",
    keypoint_names=("nose",),
    skeleton=(),
    species=tuple(dict.fromkeys(species for _, species in pairs)),
    instances=instances,
    image_names=tuple(str(i) for i in range(1 + max(image for image, _ in pairs))),
    read_image=lambda number: b"",
  )


def _zoo(images_per_species: int = 20) -> KeypointDataset:
  """Five species with two animals in every image."""
  names = [f"species{i}" for i in range(5)]
  numbers = range(5 * images_per_species)
  return _dataset([(i, names[i % 5]) for i in numbers for _ in range(2)])


def _species(instances) -> set[str]:
  return {instance.species for instance in instances}


def _images(instances) -> set[int]:
  return {instance.image for instance in instances}


def _assert_disjoint_images(parts) -> None:
  together = [image for part in parts for image in _images(part)]
  assert len(together) == len(set(together))


def test_species_split_by_name():
  cfg = DataConfig(
    unseen_species=("species1",),
    validation_species=("species3",),
    heldout_fraction=0.25,
  )
  parts = splits.split_instances(_zoo(), cfg)
  assert _species(parts.unseen) == {"species1"} and len(parts.unseen) == 40
  assert _species(parts.validation) == {"species3"} and len(parts.validation) == 40
  trained = {"species0", "species2", "species4"}
  assert _species(parts.train) == _species(parts.seen) == trained
  for name in trained:
    images = {i.image for i in parts.seen if i.species == name}
    assert len(images) == 5  # a quarter of the 20 images of every species
  assert sum(map(len, parts)) == 200
  _assert_disjoint_images(parts)


def test_species_split_by_seeded_fractions():
  cfg = DataConfig(unseen_fraction=0.4, validation_fraction=0.2)
  parts = splits.split_instances(_zoo(), cfg)
  again = splits.split_instances(_zoo(), cfg)
  assert not parts.seen
  assert [[i.instance_id for i in part] for part in parts] == [
    [i.instance_id for i in part] for part in again
  ]
  assert len(_species(parts.unseen)) == 2 and len(_species(parts.validation)) == 1
  assert not _species(parts.unseen) & _species(parts.validation)
  assert not _species(parts.train) & _species((*parts.unseen, *parts.validation))
  choices = {
    tuple(sorted(_species(splits.split_instances(_zoo(), cfg).unseen)))
    for cfg in (DataConfig(unseen_fraction=0.4, split_seed=seed) for seed in range(9))
  }
  assert len(choices) > 3


def test_a_named_species_is_never_drawn_for_the_other_split():
  for seed in range(20):
    cfg = DataConfig(
      unseen_species=("species0",), validation_fraction=0.6, split_seed=seed
    )
    assert "species0" not in _species(splits.split_instances(_zoo(), cfg).validation)
    cfg = DataConfig(
      validation_species=("species0",), unseen_fraction=0.6, split_seed=seed
    )
    assert "species0" not in _species(splits.split_instances(_zoo(), cfg).unseen)


def test_an_image_with_several_species_belongs_to_one_split():
  pairs = [(i, name) for i in range(30) for name in ("cat", ("dog", "cow")[i % 2])]
  pairs += [(i, "cat") for i in range(30, 60)] + [(i, "cow") for i in range(40, 50)]
  pairs += [(0, "cow")]
  cfg = DataConfig(
    unseen_species=("dog",), validation_species=("cow",), heldout_fraction=0.5
  )
  parts = splits.split_instances(_dataset(pairs), cfg)
  _assert_disjoint_images(parts)
  assert _images(parts.unseen) == set(range(0, 30, 2))
  assert _images(parts.validation) == set(range(1, 30, 2)) | set(range(40, 50))
  assert _species(parts.train) == _species(parts.seen) == {"cat"}
  assert _images((*parts.train, *parts.seen)) == {*range(30, 40), *range(50, 60)}
  assert len(_images(parts.seen)) == 10


@pytest.mark.parametrize("validation_fraction, sizes", [(0.1, (4, 8)), (0.0, (4, 4))])
def test_one_species_is_split_by_images(validation_fraction, sizes):
  dataset = _dataset([(i, "person") for i in range(40) for _ in range(3)])
  cfg = DataConfig(heldout_fraction=0.2, validation_fraction=validation_fraction)
  parts = splits.split_instances(dataset, cfg)
  _assert_disjoint_images((parts.train, parts.validation, parts.unseen))
  found = len(_images(parts.validation)), len(_images(parts.unseen))
  assert found == sizes
  assert len(_images(parts.train)) == 40 - sum(sizes)
  assert _images(parts.seen) <= _images(parts.train)
  assert len(_images(parts.seen)) == len(_images(parts.unseen))
  assert len(parts.unseen) == 3 * len(_images(parts.unseen))


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"unseen_species": ("species9",)}, r"\['species9'\] are not in zoo, .*species4"),
    (
      {"unseen_species": ("species1",), "validation_species": ("species1",)},
      r"both unseen and for validation: \['species1'\]",
    ),
    ({"unseen_fraction": 1.0}, "nothing is left to train on"),
    ({"unseen_species": tuple(f"species{i}" for i in range(5))}, "nothing is left"),
  ],
)
def test_wrong_splits_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    splits.split_instances(_zoo(), DataConfig(**fields))


@pytest.mark.parametrize("species", [1, 3])
def test_groups_are_never_divided(species):
  """Frames of a clip are near copies of each other."""
  zoo = _dataset([(image, f"species{image % species}") for image in range(96)])
  # Twelve clips of eight frames, each of one species.
  clips = [f"clip{image % 12}" for image in range(96)]
  names = tuple(f"{clip}_img{image:03d}.jpg" for image, clip in enumerate(clips))
  zoo = dataclasses.replace(zoo, image_names=names)
  cfg = DataConfig(heldout_fraction=0.25, group_pattern=r"(\w+)_img")
  parts = splits.split_instances(zoo, cfg)
  held = parts.seen if species > 1 else parts.unseen + parts.validation
  train, heldout = ({i.group for i in part} for part in (parts.train, held))
  assert train and heldout and not train & heldout
  assert train | heldout == {*clips} and len(parts.train) + len(held) == 96
  assert len(heldout) == 3
  images = splits.split_instances(zoo, dataclasses.replace(cfg, group_pattern=""))
  assert not any(instance.group for instance in images.train)
  with pytest.raises(ValueError, match="'nothing' is not found in .*'clip0_img000"):
    splits.split_instances(zoo, dataclasses.replace(cfg, group_pattern="nothing"))
