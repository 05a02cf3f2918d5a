"""Stores a `KeypointDataset` as TFDS records, one per image, and reads it back."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from fskd_jax.data.annotations import Instance, KeypointDataset

SPLIT = "images"
"""The only split of the records; `splits` divides species and images."""


def info(
  builder: tfds.core.DatasetBuilder,
  description: str,
  *,
  name: str,
  keypoint_names: tuple[str, ...],
  skeleton: tuple[tuple[int, int], ...],
  species: tuple[str, ...],
) -> tfds.core.DatasetInfo:
  """Describes the records of a data set; its names become TFDS metadata."""
  num_keypoints = len(keypoint_names)
  instance = {
    "id": np.int64,
    "species": tfds.features.Text(),
    "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
    "keypoints": tfds.features.Tensor(shape=(num_keypoints, 2), dtype=np.float32),
    "visible": tfds.features.Tensor(shape=(num_keypoints,), dtype=np.bool_),
  }
  features = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "name": tfds.features.Text(),
    "size": tfds.features.Tensor(shape=(2,), dtype=np.int64),  # width, height
    "instances": tfds.features.Sequence(instance),
  }
  return tfds.core.DatasetInfo(
    builder=builder,
    description=description,
    features=tfds.features.FeaturesDict(features),
    metadata=tfds.core.MetadataDict(
      name=name, keypoint_names=keypoint_names, skeleton=skeleton, species=species
    ),
    disable_shuffling=True,  # record i is image i
  )


def examples(dataset: KeypointDataset) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the number and the record of every image, its bytes untouched."""
  of_image: list[list[Instance]] = [[] for _ in dataset.image_names]
  for instance in dataset.instances:
    of_image[instance.image].append(instance)
  for number, (name, instances) in enumerate(zip(dataset.image_names, of_image)):
    record = {
      "image": dataset.read_image(number),
      "name": name,
      "size": instances[0].image_size,
      "instances": [
        {
          "id": instance.instance_id,
          "species": instance.species,
          "box": instance.box,
          "keypoints": instance.keypoints,
          "visible": instance.visible,
        }
        for instance in instances
      ],
    }
    yield number, record


def load(builder: tfds.core.DatasetBuilder) -> KeypointDataset:
  """Prepares a data set below its data_dir if it is missing, and reads it back.

  The result equals the argument of `examples` in every field; `read_image` fetches the
  record from disk. Several programs may do this at once.
  """
  try:
    builder.download_and_prepare()
  except OSError:
    # Records appear by one rename: another program may have been faster.
    if not builder.data_path.exists():
      raise
  # From disk: a builder does not see what other programs wrote after it was made.
  builder = tfds.builder_from_directory(builder.data_path)
  decoders = {"image": tfds.decode.SkipDecoding()}
  # TFDS wraps its methods, and the checker sees no parameters.
  source = builder.as_data_source(SPLIT, decoders=decoders)  # pyright: ignore
  names, instances = [], []
  for number in tqdm.trange(len(source), desc="Reading annotations", leave=False):
    record = source[number]
    names.append(record["name"].decode())
    instances += _instances(number, record)
  metadata: Any = builder.info.metadata
  return KeypointDataset(
    name=metadata["name"],
    keypoint_names=tuple(metadata["keypoint_names"]),
    skeleton=tuple((a, b) for a, b in metadata["skeleton"]),
    species=tuple(metadata["species"]),
    instances=tuple(instances),
    image_names=tuple(names),
    read_image=lambda number: source[number]["image"],
  )


def _instances(number: int, record: dict[str, Any]) -> Iterator[Instance]:
  width, height = record["size"].tolist()
  columns = record["instances"]
  for i, instance_id in enumerate(columns["id"]):
    x, y, w, h = columns["box"][i].tolist()
    yield Instance(
      instance_id=int(instance_id),
      image=number,
      image_size=(width, height),
      species=columns["species"][i].decode(),
      box=(x, y, w, h),
      keypoints=columns["keypoints"][i],
      visible=columns["visible"][i],
    )
