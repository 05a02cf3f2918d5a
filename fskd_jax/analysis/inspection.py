"""Collects an episode as the network sees it, and the heat-maps of a prediction."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from fskd_jax import episode
from fskd_jax.config import Config, crop_size
from fskd_jax.data.feed import Feed
from fskd_jax.device import color, store
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import negatives
from fskd_jax.few_shot.mixing import training_sampler
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.heatmaps import losses
from fskd_jax.models.aggregator import pooling_weights
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.pictures.network import EpisodeInput, KeypointView
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.inputs import Annotated

TRAINING = "train"
"""Setting of training: random crops and colours, auxiliary types, negatives."""


def episode_input(cfg: Config, setting: str, index: int) -> EpisodeInput:
  """Returns an episode with everything that the steps derive from it on the device.

  Args:
    cfg: The configuration of a few-shot experiment.
    setting: `TRAINING`, or a setting of the evaluation, such as "unseen/base".
    index: The number of the episode.

  Raises:
    ValueError: The setting does not exist or has nothing to score.
  """
  feed = Feed.open(cfg.data)
  if setting == TRAINING:
    sampler = training_sampler(feed, cfg.train)
  elif setting.count("/") == 1:
    sampler = evaluation_sampler(feed, setting, cfg.eval)
  else:
    raise ValueError(
      f"--setting {setting}: expected {TRAINING}, or a setting as unseen/base"
    )
  with feed.batches(sampler, [[index]], 1) as batches:
    batch = store.with_pixels(next(batches), feed.store, crop_size(cfg.data))
  if setting == TRAINING:
    data = cfg.data
    batch = color.changed(
      batch, cfg.train.seed, data.color_jitter, data.grey_probability
    )
  views = episode.all_views(batch)
  pooling, targets = _maps(cfg, batch)
  return EpisodeInput(
    images=np.asarray(views.images[0]).round().clip(0, 255).astype(np.uint8),
    shots=batch.support.visible.shape[1],
    keypoints=np.asarray(views.keypoints[0]),
    visible=np.asarray(views.visible[0]),
    is_auxiliary=np.asarray(batch.is_auxiliary[0]),
    negatives=_negatives(cfg, batch, setting),
    pooling=pooling,
    targets=targets,
    names=feed.type_names(batch.keypoint_ids[0]),
  )


def _negatives(
  cfg: Config, batch: EpisodeBatch, setting: str
) -> Float[np.ndarray, "t g 2"]:
  """Returns the negatives of the images; none if training does not use them."""
  loss = cfg.loss
  if setting != TRAINING or not loss.mfcl_weight or not loss.negatives_per_image:
    return np.zeros((episode.all_views(batch).visible.shape[1], 0, 2))
  sampled = negatives.of_batch(batch, loss, cfg.train.seed, cfg.data.image_size)
  return np.asarray(sampled[0])


def _maps(
  cfg: Config, batch: EpisodeBatch
) -> tuple[Float[np.ndarray, "k n h w"], Float[np.ndarray, "m n h w"]]:
  """Returns the pooling weights of the support and the targets of the queries."""
  side = cfg.data.image_size
  detector = FewShotDetector(cfg.model, side)
  output, _ = jax.eval_shape(
    functools.partial(detector.init_with_output, train=False), jax.random.key(0), batch
  )
  pooling = pooling_weights(
    batch.support.keypoints,
    output.features.shape[2],
    image_size=side,
    sigma=cfg.model.pool_sigma,
    truncate_center=cfg.model.truncate_pooling_center,
  )
  cells = max(maps.shape[-1] for maps in output.heatmaps)
  targets = losses.heatmap_targets(
    batch.query.keypoints, (cells, cells), side / cells, cfg.loss.target_sigma * side
  )
  return np.asarray(pooling[0]), np.asarray(targets[0])


class QueryViews(NamedTuple):
  """Heat-maps and kernels of a detector for one query image.

  Attributes:
    crop: The crop of the query that the network sees, RGB.
    rows: The heat-map and kernels of each chosen keypoint type.
  """

  crop: UInt8[np.ndarray, "l l 3"]
  rows: list[KeypointView]


def query_views(
  detector: KeypointDetector,
  supports: Sequence[Annotated],
  query: UInt8[np.ndarray, "h w 3"],
  *,
  box: Sequence[float] | None,
  names: Sequence[str] | None,
  most: int,
) -> QueryViews:
  """Predicts a query, and returns the heat-maps and kernels of its keypoint types.

  Args:
    detector: The detector.
    supports: The objects marked on support images.
    query: The query image, RGB.
    box: (x, y, w, h) of the object in pixels of the query; None to search for it.
    names: The keypoint types; None for the first ones of the support.
    most: The number of types if no names are given.

  Raises:
    ValueError: The support does not show a named type.
  """
  support = detector.support(
    [x.image for x in supports],
    [x.marked.keypoints for x in supports],
    [x.marked.box for x in supports],
  )
  shown = [name for name, is_shown in zip(support.names, support.shown) if is_shown]
  names = names or shown[:most]
  if unknown := set(names) - set(shown):
    raise ValueError(f"--names: the support does not show {', '.join(sorted(unknown))}")
  boxes = None if box is None else [box]
  seen = detector.heatmaps(support, [query], boxes)
  confidence = detector.predict(support, [query], boxes).confidence[0]
  norms = [np.linalg.norm(group.taps[0], axis=-1) for group in support.kernels]
  rows = []
  for name in names:
    n = support.names.index(name)
    image, point = next(
      (x.image, point)
      for x in supports
      if (point := x.marked.keypoints.get(name)) is not None
    )
    rows.append(
      KeypointView(
        title=name,
        support=image.pixels,
        place=point,
        found=seen.keypoints[0, n],
        confidence=confidence[n],
        heatmap=seen.heatmaps[0, n],
        tap_norms=[group[n] for group in norms],
      )
    )
  return QueryViews(seen.crops[0], rows)
