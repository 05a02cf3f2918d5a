"""Chooses how to train a detector on somebody's labels, and says why."""

import copy
import re
from typing import NamedTuple

from fskd_jax.config import Config
from fskd_jax.data import sides
from fskd_jax.data.annotations import KeypointDataset

SETTING = "validation/base"
"""The setting that is checked: images that are not trained on, all keypoint types."""

CHECKED = 0.2
"""The part of the images or clips that is not trained on."""

LEAST_IMAGES = 6
LEAST_GROUPS = 4

_CLIPS = (
  r"^(.+)/[^/]+$",  # a folder for each clip
  r"^(.+?)[-_ .]*(?:img|image|frame|f)?[-_ .]*\d+\.\w+$",  # numbered frames
)


class Recipe(NamedTuple):
  """A configuration, and a line about each choice in it."""

  config: Config
  choices: tuple[str, ...]


def choose(dataset: KeypointDataset, path: str, base: Config) -> Recipe:
  """Chooses the configuration of a training; the number of steps is left alone.

  Args:
    dataset: The labelled images.
    path: Where they were read from.
    base: The configuration of the detector to start from.

  Raises:
    ValueError: There are too few images.
  """
  images = len({instance.image for instance in dataset.instances})
  if images < LEAST_IMAGES:
    raise ValueError(
      f"{path}: {images} labelled images, expected at least {LEAST_IMAGES} to train on "
      "some and check on others; with fewer, mark them as support: "
      "fskd predict --support IMAGE --keypoints FILE --query ..."
    )
  cfg = copy.deepcopy(base)
  cfg.name = "own_labels"
  cfg.model.pretrained = ""
  data = cfg.data
  data.mixture, data.holdout, data.slots = (), (), 0
  data.name, data.path, data.executor = "coco_keypoints", path, "resident"
  data.base, data.novel, data.auxiliary_paths = dataset.keypoint_names, (), ()
  data.validation_fraction, data.heldout_fraction = CHECKED, 0.0
  data.unseen_species = data.validation_species = ()
  choices = [f"types: all {len(data.base)} are trained on"]
  data.group_pattern, said = _groups(dataset, images)
  choices.append(said)
  found = sides.find(dataset.keypoint_names)
  alone = [*found.alone, *(" = ".join(pair) for pair in found.doubtful)]
  data.flip_probability = 0.0 if alone else 0.5
  choices.append(
    f"mirrored images: none, {', '.join(alone)} would be on the wrong side"
    if alone
    else f"mirrored images: half of them, {len(found.pairs)} pairs of sides exchanged"
  )
  data.rotation_probability, data.rotation_degrees = 0.5, 20.0
  data.scale_range, data.shift = (0.6, 1.2), 0.1
  data.min_support_types = data.min_query_types = min(2, len(data.base))
  checked = max(2, round(CHECKED * images))
  cfg.eval.settings = (SETTING,)
  cfg.eval.shots, cfg.eval.queries = 1, min(5, checked - 1)
  cfg.eval.episodes, cfg.eval.search_episodes = 100, 0
  cfg.optim.learning_rate, cfg.optim.schedule = 1e-3, "cosine"
  return Recipe(cfg, tuple(choices))


def with_steps(cfg: Config, steps: int) -> Config:
  """Returns the configuration with the number of steps, and what depends on it."""
  cfg = copy.deepcopy(cfg)
  cfg.train.steps = steps
  cfg.train.validate_every = cfg.train.picture_every = steps
  cfg.optim.warmup_steps = min(60, steps // 10)
  return cfg


def _groups(dataset: KeypointDataset, images: int) -> tuple[str, str]:
  """Returns `data.group_pattern`, and what it means."""
  categories = {instance.species for instance in dataset.instances}
  if len(categories) > 1:
    return "", (
      f"checked on: {CHECKED:.0%} of the {len(categories)} categories, whole ones and "
      "at least one"
    )
  for pattern in _CLIPS:
    found = [re.search(pattern, name) for name in dataset.image_names]
    clips = {match[1] for match in found if match}
    if all(found) and LEAST_GROUPS <= len(clips) <= images / 2:
      return pattern, (
        f"checked on: {CHECKED:.0%} of {len(clips)} clips, whole ones, as frames of a "
        "clip are alike"
      )
  return "", f"checked on: {CHECKED:.0%} of {images} images, drawn at random"
