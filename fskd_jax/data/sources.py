"""Loads the data set that a configuration names, through TFDS or without it."""

import dataclasses
import glob
import importlib.util
import logging
import os
import pathlib

from fskd_jax.buckets import copies
from fskd_jax.config import DataConfig, SourceConfig, source_data
from fskd_jax.data import unlabelled
from fskd_jax.data.annotations import KeypointDataset, read_coco
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.data.creatures import dataset

_log = logging.getLogger(__name__)

EXECUTORS = ("tfdata", "grain", "resident")


def load_dataset(cfg: DataConfig) -> KeypointDataset:
  """Opens the data set `cfg.name`, prepared below `cfg.cache_dir` if it is missing.

  The executors "tfdata" and "grain" read TFDS records; "resident" reads the labels
  themselves. All give the same data set, and none imports TensorFlow for it.

  Raises:
    ValueError: The name or executor is unknown, there is no path, or the annotations
      have a fault.
    FileNotFoundError: Annotations or images are missing.
    ImportError: As `check_executor` and `copies.local`, of which an address is a path.
  """
  check_executor(cfg.executor)
  if copies.is_address(cfg.cache_dir):
    raise ValueError(
      f"data.cache_dir = {cfg.cache_dir!r}: expected a folder of this machine; "
      "data.path may be in a bucket"
    )
  if cfg.path:
    cfg = dataclasses.replace(cfg, path=str(copies.local(cfg.path)))
  with_tfds = cfg.executor != "resident"
  if cfg.name == "synthetic_creatures":
    if with_tfds:
      from fskd_jax.data.builders import synthetic_creatures

      return synthetic_creatures.load(cfg.cache_dir, cfg.images_per_species)
    return read_coco(dataset.rendered_folder(cfg.cache_dir, cfg.images_per_species))
  if cfg.name == "unlabelled":
    # Files are random access: nothing to prepare.
    photographs = unlabelled.sized(unlabelled.read_photographs(cfg.path), cfg)
    return unlabelled.decodable(photographs)
  if cfg.name == "coco_keypoints":
    if not cfg.path:
      raise ValueError(
        "data.path is empty, expected a folder or file of labels (docs/data.md)"
      )
    if with_tfds:
      from fskd_jax.data.builders import coco_keypoints

      return coco_keypoints.load(cfg.path, cfg.cache_dir)
    return read_dataset(cfg.path)
  raise ValueError(
    f"data.name is {cfg.name!r}, expected 'synthetic_creatures', 'coco_keypoints' or "
    "'unlabelled'"
  )


def check_executor(executor: str) -> None:
  """Checks the name of an executor, and that its library is installed.

  Raises:
    ValueError: There is no such executor.
    ImportError: The executor is "tfdata", and TensorFlow is not installed.
  """
  if executor not in EXECUTORS:
    raise ValueError(f"data.executor is {executor!r}, expected one of {EXECUTORS}")
  if executor == "tfdata" and importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
      "data.executor=tfdata needs TensorFlow: pip install -e '.[tensorflow]' in the "
      "clone of fskd_jax; the executors 'grain' and 'resident' need none"
    )


def present_sources(cfg: DataConfig) -> list[SourceConfig]:
  """Returns the sources of a mixture; one warning names the optional ones left out.

  Raises:
    FileNotFoundError: The path of a source does not exist, or those of all optional
      ones.
  """
  missing = {
    source.name: path
    for source in cfg.mixture
    if (path := source_data(cfg, source).path) and not _is_there(path)
  }
  optional = [source.name for source in cfg.mixture if source.optional]
  needed = [name for name in missing if name not in optional or name in cfg.holdout]
  if not needed and missing.keys() == {*optional}:
    needed = optional
  if needed:
    told = ", ".join(f"{name} ({missing[name]})" for name in needed)
    raise FileNotFoundError(
      f"sources of data.mixture are missing: {told}; paths lie below data.path = "
      f"{cfg.path!r}"
    )
  if missing:
    told = ", ".join(f"{name} ({path})" for name, path in missing.items())
    _log.warning("sources left out, as their folders are missing: %s", told)
  return [source for source in cfg.mixture if source.name not in missing]


def _is_there(path: str) -> bool:
  """Whether there is a file or folder, or one that fits a pattern."""
  if copies.is_address(path):
    return bool(copies.Bucket(path).listing())
  return os.path.exists(path) or bool(glob.glob(path))


def annotation_folder(cfg: DataConfig) -> pathlib.Path:
  """Returns the folder or file of labels that `load_dataset` reads."""
  if cfg.name == "synthetic_creatures":
    return dataset.rendered_folder(cfg.cache_dir, cfg.images_per_species)
  return copies.local(cfg.path)
