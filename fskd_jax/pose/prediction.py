"""Predicts the keypoints of persons, in batches and on every device."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from fskd_jax import geometry
from fskd_jax.config import Config, crop_size
from fskd_jax.data.annotations import Instance
from fskd_jax.data.evaluation_batches import evaluation_batches
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import PADDING, EpisodeBatch
from fskd_jax.models.build import make_transpose
from fskd_jax.pictures import episodes
from fskd_jax.pose import step
from fskd_jax.pose.sampler import PoseSampler, flip_partners, make_sampler

Predictor = Callable[[EpisodeBatch], np.ndarray]
"""Function from a batch of persons to [b n 3]: (x, y, score) in pixels of the crops."""


def network_predictor(
  cfg: Config, feed: Feed
) -> Callable[[Any, EpisodeBatch, Any], np.ndarray]:
  """Returns (variables, batch, store) -> [b n 3], compiled once, on every device.

  Raises:
    ValueError: The flip test lacks a mirror image; see `flip_partners`.
  """
  permutation = feed.permutation()
  names = feed.dataset.keypoint_names
  partners = None
  if cfg.pose.flip_test:
    partners = flip_partners(feed.types.base, permutation, names)
  run = functools.partial(
    step.eval_step,
    model=make_transpose(cfg),
    loss=cfg.loss,
    pose=cfg.pose,
    partners=partners,
  )
  return parallel.parallelize_evaluation(run, cfg.train.backend, crop_size(cfg.data))


def person_sampler(
  cfg: Config, feed: Feed, persons: Sequence[Instance], *, training: bool
) -> PoseSampler:
  """Returns a sampler of persons of a data set.

  Raises:
    ValueError: `sampler.make_sampler` raises it.
  """
  return make_sampler(
    persons,
    feed.types.base,
    permutation=feed.permutation(),
    vocabulary=feed.dataset.keypoint_names,
    cfg=cfg.data,
    pose=cfg.pose,
    seed=cfg.train.seed,
    training=training,
  )


def predict(
  predictors: Mapping[str, Predictor],
  feed: Feed,
  sampler: PoseSampler,
  *,
  persons: int,
  batch_persons: int,
  label: str = "",
) -> dict[str, Float[np.ndarray, "p n 3"]]:
  """Predicts the first persons of a sampler.

  Args:
    predictors: Predictors by name; all see the same crops.
    feed: The data set.
    sampler: A sampler of evaluation crops.
    persons: Number of persons.
    batch_persons: Number of persons at a time, over all devices.
    label: Label of the progress bar, which is shown only with a label.

  Returns:
    (x, y, score) by predictor, in pixels of the original images.
  """
  found: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
  with evaluation_batches(
    feed, sampler, persons, batch_persons, label=label, unit="person"
  ) as batches:
    for batch in batches:
      real = np.asarray(batch.episode_index) != PADDING
      to_original = np.asarray(batch.query.to_original[:, 0], np.float64)[real]
      for name, predictor in predictors.items():
        values = predictor(batch)[real]
        points = geometry.apply_affine(to_original, values[..., :2])
        found[name].append(np.concatenate([points, values[..., 2:]], axis=-1))
  return {name: np.concatenate(parts) for name, parts in found.items()}


def picture(
  title: str,
  indices: Sequence[int],
  sampler: PoseSampler,
  feed: Feed,
  predictor: Predictor,
) -> episodes.EpisodePicture:
  """Predicts some persons of a sampler, and returns their images and keypoints."""
  size, count = parallel.divisible_batch(len(indices)), len(indices)
  with feed.batches(sampler, [indices], size) as batches:
    batch = next(batches)
  query = batch.query
  support_images, query_images = feed.pixels(batch)
  return episodes.EpisodePicture(
    title=title,
    support_images=support_images[0],
    support_keypoints=batch.support.keypoints[0],
    support_visible=batch.support.visible[0],
    query_images=query_images[:count, 0],
    query_keypoints=query.keypoints[:count, 0],
    predicted=predictor(batch)[:count, :, :2],
    valid=query.visible[:count, 0],
    names=feed.type_names(feed.types.base),
  )
