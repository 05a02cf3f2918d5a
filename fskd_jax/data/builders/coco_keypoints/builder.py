"""TFDS builder of records for random access from local labels."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
from typing import Any

import tensorflow_datasets as tfds

from fskd_jax.data import any_labels
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.builders import records


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
  """Labels, with a name by their content that `folder_config` makes."""

  folder: str


def folder_config(folder: str | os.PathLike) -> FolderConfig:
  """Returns a config named by labels and their content, so that caches never collide.

  The content is the labels and the names and sizes of the images.

  Args:
    folder: A folder or file of labels (`any_labels.read_dataset`).

  Raises:
    FileNotFoundError, ValueError: As for `any_labels.read_dataset`.
  """
  folder = pathlib.Path(folder).resolve()
  if any_labels.is_layout(folder):
    root, said = folder / "images", (folder / "annotations.json").read_bytes()
  else:
    entries, root, *_ = any_labels.locate(folder)
    said = json.dumps(entries).encode()
  digest = hashlib.sha256(said)
  for image in sorted(p for p in root.rglob("*") if p.is_file()):
    entry = f"{image.relative_to(root.parent)}\0{image.stat().st_size}\0"
    digest.update(entry.encode())
  name = re.sub(r"\W+", "_", folder.name)
  return FolderConfig(name=f"{name}-{digest.hexdigest()[:16]}", folder=str(folder))


class CocoKeypoints(tfds.core.GeneratorBasedBuilder):
  """One record per annotated image of a folder or file of labels."""

  VERSION = tfds.core.Version("1.0.0")

  @functools.cached_property
  def _dataset(self) -> KeypointDataset:
    config: Any = self.builder_config
    if config is None:
      raise ValueError("coco_keypoints needs a folder: config=folder_config(folder)")
    return any_labels.read_dataset(config.folder)

  def _info(self) -> tfds.core.DatasetInfo:
    return records.info(
      self,
      "Keypoints of local labels.",
      name=self._dataset.name,
      keypoint_names=self._dataset.keypoint_names,
      skeleton=self._dataset.skeleton,
      species=self._dataset.species,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    return {records.SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Any:
    return records.examples(self._dataset)


def load(folder: str | os.PathLike, cache_dir: str | os.PathLike) -> KeypointDataset:
  """Reads labels through TFDS, prepared once below `cache_dir`.

  Raises:
    FileNotFoundError, ValueError: As for `any_labels.read_dataset`.
  """
  builder = CocoKeypoints(
    config=folder_config(folder),
    data_dir=os.fspath(cache_dir),
    file_format=tfds.core.FileFormat.ARRAY_RECORD,
  )
  return records.load(builder)
