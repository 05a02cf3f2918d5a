"""Chooses how to train a detector on somebody's labels, and says why."""

import collections
import copy
import dataclasses
import re
from typing import NamedTuple

from fskd_jax.config import Config, DataConfig, SelfSupervisedConfig, SourceConfig
from fskd_jax.data import sides
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.splits import split_instances

SETTING = "validation/base"
"""The setting that is checked: images that are not trained on, all keypoint types."""

CHECKED = 0.2
"""The part of the images or clips that is not trained on."""

LABELS, UNLABELLED = "labels", "unlabelled"
"""The sources of `choose_gently`."""

GENTLE_EPISODES = 4
"""Largest number of episodes in a step of `choose_gently`: few images are not seen more
thoroughly by more, and a CPU has time for few steps."""

_VIEWS = SelfSupervisedConfig(share=1.0, region="image", rotation_degrees=30.0)

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


def choose(
  dataset: KeypointDataset, path: str, base: Config, unlabelled: str = ""
) -> Recipe:
  """Chooses the configuration of a training; the number of steps is left alone.

  Args:
    dataset: The labelled images.
    path: Where they were read from.
    base: The configuration of the detector to start from.
    unlabelled: As for `choose_gently`.

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
  data.executor, data.heldout_fraction = "resident", 0.0
  types, mirrored = _labelled(data, dataset, path)
  data.unseen_fraction = 0.0
  checked, said = _hold_out(data, dataset, images, path)
  data.scale_range, data.shift = (0.6, 1.2), 0.1
  if unlabelled:
    cfg.data = _with_photographs(base.data, data, unlabelled)
  cfg.eval.settings = (SETTING,)
  cfg.eval.shots, cfg.eval.queries = 1, min(5, checked - 1)
  cfg.eval.episodes, cfg.eval.search_episodes = 100, 0
  cfg.optim.learning_rate, cfg.optim.schedule = 1e-3, "cosine"
  return Recipe(cfg, (types, said, mirrored))


def choose_gently(
  dataset: KeypointDataset, path: str, unlabelled: str, base: Config
) -> Recipe:
  """Chooses how a few labelled images change a detector a little.

  The labels are one source of a mixture, `LABELS`. Photographs without labels are the
  other, `UNLABELLED`, whose episodes ask that points of a photograph are found again in
  other views of it.

  Args:
    dataset: The labelled images.
    path: Where they were read from.
    unlabelled: Folder of the photographs, or "".
    base: The configuration of the detector to start from.
  """
  cfg = copy.deepcopy(base)
  cfg.name = "adapted"
  cfg.model.pretrained = ""
  labels = DataConfig(crop="box", crop_margin=base.data.crop_margin)
  types, mirrored = _labelled(labels, dataset, path)
  labels.scale_range, labels.shift, labels.tilt_degrees = (0.7, 1.2), 0.1, 20.0
  labels.self_supervised = dataclasses.replace(_VIEWS, share=0.2, region="box")
  labels.class_mode = "mix_class"  # names count
  cfg.data = data = _with_photographs(base.data, labels, unlabelled)
  data.color_jitter = max(data.color_jitter, 0.3)
  cfg.eval.settings, cfg.eval.search_episodes = ("unseen/base",), 0
  cfg.train.episodes_per_step = min(cfg.train.episodes_per_step, GENTLE_EPISODES)
  cfg.train.backend = "single"  # so few do not divide among many devices
  cfg.optim.learning_rate, cfg.optim.schedule = 2e-3, "cosine"
  return Recipe(cfg, (types, mirrored))


def _with_photographs(
  shared: DataConfig, labels: DataConfig, unlabelled: str
) -> DataConfig:
  """Returns the mixture of labels and photographs without, which may be none ("")."""
  sources = [SourceConfig(name=LABELS, data=labels)]
  if unlabelled:
    data = DataConfig(name="unlabelled", path=unlabelled, self_supervised=_VIEWS)
    sources.append(SourceConfig(name=UNLABELLED, weight=0.5, data=data))
  data = copy.deepcopy(shared)
  data.name, data.path, data.executor = "coco_keypoints", "/", "resident"
  data.base = data.novel = data.holdout = ()
  data.mixture, data.slots = tuple(sources), max(8, len(labels.base))
  return data


def _labelled(data: DataConfig, dataset: KeypointDataset, path: str) -> tuple[str, str]:
  """Sets what labels alone decide, types and mirrored images; returns two sentences."""
  data.name, data.path = "coco_keypoints", path
  data.base, data.novel, data.auxiliary_paths = dataset.keypoint_names, (), ()
  data.unseen_species = data.validation_species = ()
  data.rotation_probability, data.rotation_degrees = 0.5, 20.0
  data.min_support_types = data.min_query_types = min(2, len(data.base))
  found = sides.find(dataset.keypoint_names)
  alone = [*found.alone, *(" = ".join(pair) for pair in found.doubtful)]
  types = f"types: all {len(data.base)} are trained on"
  # Corners named 1 to 4 have no sides, but change places in a mirror all the same.
  data.flip_probability = 0.5 if found.pairs and not alone else 0.0
  if alone:
    return (
      types,
      f"mirrored images: none, {', '.join(alone)} would be on the wrong side",
    )
  if not found.pairs:
    return types, "mirrored images: none, as no names are a left and a right one"
  return types, (
    f"mirrored images: half of them, {len(found.pairs)} pairs of sides exchanged"
  )


def with_steps(cfg: Config, steps: int) -> Config:
  """Returns the configuration with the number of steps, and what depends on it."""
  cfg = copy.deepcopy(cfg)
  cfg.train.steps = steps
  cfg.train.validate_every = cfg.train.picture_every = steps
  cfg.optim.warmup_steps = min(60, steps // 10)
  return cfg


def clips(dataset: KeypointDataset) -> str:
  """Returns a regular expression of the clip in the names of images, or ""."""
  names = _labelled_names(dataset)
  for pattern in _CLIPS:
    found = [re.search(pattern, name) for name in names]
    several = {match[1] for match in found if match}
    if all(found) and LEAST_GROUPS <= len(several) <= len(names) / 2:
      return pattern
  return ""


def _labelled_names(dataset: KeypointDataset) -> list[str]:
  """Returns the names of images with an object; a file may list thousands of others."""
  return [dataset.image_names[n] for n in {i.image: 0 for i in dataset.instances}]


def _hold_out(
  data: DataConfig, dataset: KeypointDataset, images: int, path: str
) -> tuple[int, str]:
  """Sets what is checked on: a fifth, or more where that is less than two images.

  Returns:
    The largest number of images of one category among them, and what was chosen.

  Raises:
    ValueError: Not even half of the labels has two images of a category.
  """
  for part in (CHECKED, 0.3, 0.4, 0.5):
    data.validation_fraction = part
    data.group_pattern, said = _groups(dataset, images, part)
    found = collections.defaultdict(set)
    for instance in split_instances(dataset, data).validation:
      if instance.visible.any():
        found[instance.species].add(instance.image)
    checked = max(map(len, found.values()), default=0)
    if checked > 1:
      return checked, said
  raise ValueError(
    f"{path}: no category has two labelled images to check on: label more images of "
    "one category, or fskd adapt, which needs fewer"
  )


def _groups(dataset: KeypointDataset, images: int, part: float) -> tuple[str, str]:
  """Returns `data.group_pattern`, and what it means for a part to check on."""
  categories = {instance.species for instance in dataset.instances}
  if len(categories) > 1:
    return "", (
      f"checked on: {part:.0%} of the {len(categories)} categories, whole ones and "
      "at least one"
    )
  if pattern := clips(dataset):
    found = [re.search(pattern, name) for name in _labelled_names(dataset)]
    count = len({match[1] for match in found if match})
    return pattern, (
      f"checked on: {part:.0%} of {count} clips, whole ones, as frames of a clip "
      "are alike"
    )
  return "", f"checked on: {part:.0%} of {images} images, drawn at random"
