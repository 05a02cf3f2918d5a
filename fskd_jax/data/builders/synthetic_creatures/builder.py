"""TFDS builder of the synthetic creatures, which are rendered if they are missing."""

import dataclasses
import os
from typing import Any

import tensorflow_datasets as tfds

from fskd_jax.data.annotations import KeypointDataset, read_coco
from fskd_jax.data.builders import records
from fskd_jax.data.creatures import dataset as creatures_dataset
from fskd_jax.data.creatures import skeleton
from fskd_jax.data.creatures.species import SPECIES


@dataclasses.dataclass(eq=False, kw_only=True)
class CreaturesConfig(tfds.core.BuilderConfig):
  """The number of pictures of each species, and the seed of all pictures."""

  images_per_species: int
  seed: int = 0


class SyntheticCreatures(tfds.core.GeneratorBasedBuilder):
  """One record per rendered picture."""

  VERSION = tfds.core.Version(f"{creatures_dataset.VERSION}.0.0")
  BUILDER_CONFIGS = [CreaturesConfig(name="250-seed0", images_per_species=250)]

  def _info(self) -> tfds.core.DatasetInfo:
    config: Any = self.builder_config
    return records.info(
      self,
      "Procedural quadrupeds with the 20 keypoints of Animal Pose.",
      name=creatures_dataset.folder_name(config.images_per_species, config.seed),
      keypoint_names=skeleton.KEYPOINTS,
      skeleton=skeleton.SKELETON,
      species=tuple(species.name for species in SPECIES),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    config: Any = self.builder_config
    folder = creatures_dataset.rendered_folder(
      self._data_dir_root, config.images_per_species, config.seed
    )
    return {records.SPLIT: self._generate_examples(read_coco(folder))}

  def _generate_examples(self, dataset: KeypointDataset) -> Any:
    return records.examples(dataset)


def load(
  cache_dir: str | os.PathLike, images_per_species: int = 250, seed: int = 0
) -> KeypointDataset:
  """Reads the creatures through TFDS, rendered and prepared once below `cache_dir`."""
  name = f"{images_per_species}-seed{seed}"
  config = SyntheticCreatures.builder_configs.get(name) or CreaturesConfig(
    name=name, images_per_species=images_per_species, seed=seed
  )
  builder = SyntheticCreatures(
    config=config,
    data_dir=os.fspath(cache_dir),
    file_format=tfds.core.FileFormat.ARRAY_RECORD,
  )
  return records.load(builder)
