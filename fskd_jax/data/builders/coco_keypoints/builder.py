"""TFDS builder of records for random access from a local COCO keypoint folder."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from typing import Any

import tensorflow_datasets as tfds

from fskd_jax.data.annotations import KeypointDataset, read_coco
from fskd_jax.data.builders import records


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
  """A folder, with a name by its content that `folder_config` makes."""

  folder: str


def folder_config(folder: str | os.PathLike) -> FolderConfig:
  """Returns a config named by a folder and its content, so that caches never collide.

  The content is the annotation file and the names and sizes of the images.

  Raises:
    FileNotFoundError: There is no annotations.json in the folder.
  """
  folder = pathlib.Path(folder).resolve()
  path = folder / "annotations.json"
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}; expected a COCO keypoint folder")
  digest = hashlib.sha256(path.read_bytes())
  for image in sorted(p for p in (folder / "images").rglob("*") if p.is_file()):
    entry = f"{image.relative_to(folder)}\0{image.stat().st_size}\0"
    digest.update(entry.encode())
  name = re.sub(r"\W+", "_", folder.name)
  return FolderConfig(name=f"{name}-{digest.hexdigest()[:16]}", folder=str(folder))


class CocoKeypoints(tfds.core.GeneratorBasedBuilder):
  """One record per annotated image of a COCO keypoint folder."""

  VERSION = tfds.core.Version("1.0.0")

  @functools.cached_property
  def _dataset(self) -> KeypointDataset:
    config: Any = self.builder_config
    if config is None:
      raise ValueError("coco_keypoints needs a folder: config=folder_config(folder)")
    return read_coco(config.folder)

  def _info(self) -> tfds.core.DatasetInfo:
    return records.info(
      self,
      "Keypoints of a local folder in COCO format.",
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
  """Reads a COCO folder through TFDS, prepared once below `cache_dir`.

  Raises:
    FileNotFoundError, ValueError: As for `read_coco`.
  """
  builder = CocoKeypoints(
    config=folder_config(folder),
    data_dir=os.fspath(cache_dir),
    file_format=tfds.core.FileFormat.ARRAY_RECORD,
  )
  return records.load(builder)
