"""Collects the boxes that an evaluation of poses predicts in."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from fskd_jax.config import Config
from fskd_jax.data import any_labels, resident, sources
from fskd_jax.data.annotations import Instance
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.pose import coco
from fskd_jax.pose.detections import read_detections


class Boxes(NamedTuple):
  """The boxes of a setting, with the fields of their file.

  Attributes:
    feed: The data set of their images.
    persons: One instance per box.
    annotated: Whether the instances have keypoints.
    image_ids, category_ids, scores: The values of each box.
    truth: The annotation, as returned by `coco.ground_truth`.
  """

  feed: Feed
  persons: Sequence[Instance]
  annotated: bool
  image_ids: Sequence[int]
  category_ids: Sequence[int]
  scores: Sequence[float]
  truth: dict[str, Any]


def boxes_of(cfg: Config, feed: Feed, setting: str) -> Boxes:
  """Returns the boxes of a setting: annotated, or those of `pose.detections`.

  Args:
    cfg: The configuration of the evaluation.
    feed: The data set.
    setting: "<split>/base".

  Raises:
    ValueError: The detections are wrong, or none lies in an image of the split.
    FileNotFoundError: The file of detections does not exist.
  """
  split = setting.split("/")[0]
  persons = feed.instances(split)
  folder, vocabulary = sources.annotation_folder(cfg.data), feed.dataset.keypoint_names
  names = any_labels.present_images(folder)
  if split != "all":
    names = {feed.dataset.image_names[person.image] for person in persons}
  truth = coco.ground_truth(folder, cfg.data.base, names)
  if cfg.pose.detections:
    found = read_detections(cfg.pose.detections, folder, vocabulary, names)
    store = feed.store and parallel.replicate(
      resident.load_store(found.dataset), cfg.train.backend
    )
    return Boxes(
      feed=dataclasses.replace(feed, dataset=found.dataset, store=store),
      persons=found.dataset.instances,
      annotated=False,
      image_ids=found.image_ids.tolist(),
      category_ids=found.category_ids.tolist(),
      scores=found.scores.tolist(),
      truth=truth,
    )
  number = {image["file_name"]: image["id"] for image in truth["images"]}
  category = {entry["id"]: entry["category"] for entry in truth["annotations"]}
  return Boxes(
    feed=feed,
    persons=persons,
    annotated=True,
    image_ids=[number[feed.dataset.image_names[person.image]] for person in persons],
    category_ids=[category[person.instance_id] for person in persons],
    scores=[1.0] * len(persons),
    truth=truth,
  )
