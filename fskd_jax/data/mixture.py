"""Puts several data sets side by side, under common numbers.

Images, instances and keypoint types of a mixture have one numbering, so that executors,
scores and records see one data set; each source keeps its own vocabulary.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.keypoint_types import keypoint_ids

Aliases = Sequence[tuple[str, str]]
"""Pairs (own name, shared name) of keypoint types."""


class Mixture(NamedTuple):
  """Data sets side by side.

  Attributes:
    whole: Everything, with the vocabulary of all. A type is called "source/name" or by
      its shared name, a species "source/species", an image "source/file".
    parts: The sources by name, with their own vocabularies, but with the numbers that
      images and instances have in the whole, and all images.
    type_ids: By source, the number in the whole of each type of its vocabulary.
  """

  whole: KeypointDataset
  parts: dict[str, KeypointDataset]
  type_ids: dict[str, Int32[np.ndarray, " v"]]


def combine(
  datasets: Mapping[str, KeypointDataset], aliases: Mapping[str, Aliases]
) -> Mixture:
  """Puts data sets side by side.

  Args:
    datasets: By name of the source; at least one.
    aliases: By name of the source, what its types are called in all of them. Types
      without an alias are not the same as any type of another source.

  Raises:
    ValueError: An alias names a type that the source has not got.
  """
  vocabulary: dict[str, int] = {}
  type_ids = {}
  for name, dataset in datasets.items():
    shared = dict(aliases.get(name, ()))
    try:
      keypoint_ids([*shared], dataset.keypoint_names)
    except ValueError as error:
      raise ValueError(f"data.mixture.{name}.aliases: {error}") from error
    names = [shared.get(own, f"{name}/{own}") for own in dataset.keypoint_names]
    numbers = [vocabulary.setdefault(full, len(vocabulary)) for full in names]
    type_ids[name] = np.array(numbers, np.int32)

  image_names = tuple(name for d in datasets.values() for name in d.image_names)
  owners = [(d, i) for d in datasets.values() for i in range(len(d.image_names))]

  def read_image(number: int) -> bytes:
    dataset, own_number = owners[number]
    return dataset.read_image(own_number)

  parts, instances, skeleton = {}, [], []
  first_image = first_instance = 0
  for name, dataset in datasets.items():
    own = tuple(
      dataclasses.replace(
        instance, image=first_image + instance.image, instance_id=first_instance + row
      )
      for row, instance in enumerate(dataset.instances)
    )
    first_image += len(dataset.image_names)
    first_instance += len(own)
    parts[name] = dataclasses.replace(
      dataset, instances=own, image_names=image_names, read_image=read_image
    )
    ids = type_ids[name]
    instances += [_renamed(i, name, ids, len(vocabulary)) for i in own]
    skeleton += [(int(ids[a]), int(ids[b])) for a, b in dataset.skeleton]
  whole = KeypointDataset(
    name=" + ".join(datasets),
    keypoint_names=tuple(vocabulary),
    skeleton=tuple(skeleton),
    species=tuple(f"{n}/{s}" for n, d in datasets.items() for s in d.species),
    instances=tuple(instances),
    image_names=tuple(
      f"{name}/{image}" for name, d in datasets.items() for image in d.image_names
    ),
    read_image=read_image,
  )
  return Mixture(whole, parts, type_ids)


def _renamed(
  instance: Instance, source: str, ids: Int32[np.ndarray, " v"], num_types: int
) -> Instance:
  """Returns an instance with the vocabulary of the whole."""
  keypoints = np.zeros((num_types, 2), np.float32)
  visible = np.zeros(num_types, bool)
  keypoints[ids], visible[ids] = instance.keypoints, instance.visible
  return dataclasses.replace(
    instance,
    species=f"{source}/{instance.species}",
    keypoints=keypoints,
    visible=visible,
  )
