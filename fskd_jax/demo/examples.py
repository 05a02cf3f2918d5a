"""Example pictures for the page, from the run's own data set."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable

import numpy as np

from fskd_jax.config import DataConfig
from fskd_jax.data import images, sources
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.creatures import dataset as creatures_dataset
from fskd_jax.data.splits import split_instances
from fskd_jax.demo.pictures import Picture, from_pixels

_log = logging.getLogger(__name__)

_QUERIES = 3

Example = tuple[Picture, list[Picture]]
"""A support picture with its keypoints and box, and query pictures with their boxes."""


def make(cfg: DataConfig) -> Callable[[int], Example] | None:
  """Returns a function from a number to an example, or None without the data set.

  Examples show species (or images) that the run was not trained on. Nothing is
  downloaded or rendered.
  """
  if not _is_there(cfg):
    return None
  try:
    dataset = sources.load_dataset(dataclasses.replace(cfg, executor="resident"))
    splits = split_instances(dataset, cfg)
  except (ValueError, OSError) as error:
    _log.warning("no examples from the run's data set: %s", error)
    return None
  by_species: dict[str, list[Instance]] = {}
  for instance in splits.unseen:
    by_species.setdefault(instance.species, []).append(instance)
  groups = [group for group in by_species.values() if len(group) > _QUERIES]
  if not groups:
    return None

  def example(number: int) -> Example:
    group = groups[number % len(groups)]
    rng = np.random.default_rng(number)
    first, *others = rng.choice(len(group), 1 + _QUERIES, replace=False).tolist()
    support = _picture(dataset, group[first])
    shown = np.flatnonzero(group[first].visible).tolist()
    points = group[first].keypoints.tolist()
    keypoints = {dataset.keypoint_names[n]: tuple(points[n]) for n in shown}
    queries = [_picture(dataset, group[other]) for other in others]
    return support._replace(keypoints=keypoints), queries

  return example


def _is_there(cfg: DataConfig) -> bool:
  if cfg.name == "synthetic_creatures":
    folder = creatures_dataset.folder_name(cfg.images_per_species)
    return (pathlib.Path(cfg.cache_dir) / folder).is_dir()
  return (pathlib.Path(cfg.path) / "annotations.json").is_file()


def _picture(dataset: KeypointDataset, instance: Instance) -> Picture:
  name = dataset.image_names[instance.image]
  pixels = images.decode(dataset.read_image(instance.image), name)
  picture = from_pixels(pathlib.Path(name).name, pixels)
  return picture._replace(box=instance.box)
