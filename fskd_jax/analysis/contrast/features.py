"""Reads features of a detector's encoder at keypoints and other points."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fskd_jax import episode
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler, evaluation_index_batches
from fskd_jax.episode import PADDING, EpisodeBatch
from fskd_jax.few_shot.scoring import run_detector
from fskd_jax.models.aggregator import pool_features
from fskd_jax.models.detector import DetectorOutput

PointsOf = Callable[[EpisodeBatch], Float[Array, "b t g 2"]]
"""Function that returns points in pixels of the crops, for all images of a batch:
support first, then queries."""


class PooledFeatures(NamedTuple):
  """Features at i visible keypoints of any images.

  Attributes:
    features: The features, pooled as for prototypes.
    keypoint: The number of each keypoint's type in the vocabulary.
    species: The name of each keypoint's species.
    instance: The id of each keypoint's instance.
  """

  features: Float[np.ndarray, "i c"]
  keypoint: Int[np.ndarray, " i"]
  species: np.ndarray
  instance: Int[np.ndarray, " i"]


def reader(
  cfg: Config, feed: Feed, points_of: PointsOf
) -> Callable[[Any, EpisodeBatch], Float[np.ndarray, "b t g c"]]:
  """Returns (variables, batch) -> features at points of all images, jitted."""

  def pool(output: DetectorOutput, batch: EpisodeBatch) -> Float[Array, "b t g c"]:
    pooled = pool_features(
      output.features,
      points_of(batch),
      image_size=cfg.data.image_size,
      sigma=cfg.model.pool_sigma,
      truncate_center=cfg.model.truncate_pooling_center,
    )
    return pooled.astype(jnp.float32)

  return run_detector(cfg, feed, pool, "single")


def at_keypoints(
  cfg: Config, variables: Any, feed: Feed, sampler: Sampler, episodes: int
) -> PooledFeatures:
  """Pools features at the visible keypoints of episodes, each instance once."""
  read = reader(cfg, feed, lambda batch: episode.all_views(batch).keypoints)
  parts, known = [], set()
  size = cfg.eval.batch_episodes
  with feed.batches(
    sampler, evaluation_index_batches(episodes, size, 0, 1), size
  ) as batches:
    for batch in batches:
      views = episode.all_views(batch)
      visible = (
        np.asarray(views.visible)
        & (np.asarray(batch.episode_index) >= 0)[:, None, None]
      )
      ids = np.broadcast_to(batch.keypoint_ids[:, None], visible.shape)
      instance = np.broadcast_to(views.instance[..., None], visible.shape)
      chosen = visible & (ids != PADDING)
      pairs = list(zip(instance[chosen].tolist(), ids[chosen].tolist()))
      fresh = []
      for pair in pairs:  # an instance may be in several episodes
        fresh.append(pair not in known)
        known.add(pair)
      features = read(variables, batch)[chosen]
      parts.append(
        [x[np.array(fresh, bool)] for x in (features, ids[chosen], instance[chosen])]
      )
  features, ids, instance = (np.concatenate(x) for x in zip(*parts))
  return PooledFeatures(features, ids, feed.species(instance), instance)


def unit(features: Float[np.ndarray, "... c"]) -> Float[np.ndarray, "... c"]:
  """Returns features scaled to length 1, so that products are cosines."""
  lengths = np.linalg.norm(features, axis=-1, keepdims=True)
  return features / np.maximum(lengths, 1e-12)


def concatenate(parts: Sequence[PooledFeatures]) -> PooledFeatures:
  """Concatenates the features of several settings."""
  return PooledFeatures(*map(np.concatenate, zip(*parts)))
