"""Base class of the TFDS builders of the published data sets."""

import pathlib
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from fskd_jax.data.annotations import KeypointDataset, read_coco
from fskd_jax.data.builders import records
from fskd_jax.data.published.prepare import prepare
from fskd_jax.data.published.schema import Published


class PublishedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Prepares <manual_dir>/<name> as a COCO folder in data_dir, then its records."""

  PUBLISHED: ClassVar[Published]
  VERSION = tfds.core.Version("1.0.0")

  def _published(self) -> Published:
    return self.PUBLISHED

  def _info(self) -> tfds.core.DatasetInfo:
    published = self._published()
    return records.info(
      self,
      f"{published.title}. Terms: {published.terms}.",
      name=published.name,
      keypoint_names=published.keypoint_names,
      skeleton=(),
      species=(),  # known once the files are read
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    published = self._published()
    folder = pathlib.Path(self._data_dir_root) / f"{published.name}_coco"
    if not folder.is_dir():
      prepare(published, dl_manager.manual_dir / self.name, folder)
    dataset = read_coco(folder)
    metadata: Any = self.info.metadata
    metadata["species"] = dataset.species
    return {records.SPLIT: self._generate_examples(dataset)}

  def _generate_examples(self, dataset: KeypointDataset) -> Any:
    return records.examples(dataset)
