"""Measures the loss of accuracy when the box of the object is not given.

The detector that users call predicts the queries of an evaluation twice: with their
boxes, and without, by searching for the object.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from fskd_jax import geometry
from fskd_jax.config import EvalConfig
from fskd_jax.data import images
from fskd_jax.data.annotations import Instance
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import PADDING, EpisodeBatch, stack, valid_queries
from fskd_jax.few_shot import calibration
from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.metrics import reliability
from fskd_jax.metrics import scores as metrics_scores
from fskd_jax.metrics.results import SEARCH_WAYS
from fskd_jax.models.build import Model
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.results import Prediction
from fskd_jax.prediction.supports import Support


class _Scores:
  """Collects predictions episode by episode; `summary` scores them."""

  def __init__(self, feed: Feed, cfg: EvalConfig):
    self._pck = metrics_scores.EpisodeScores(
      cfg.thresholds, feed.dataset.keypoint_names
    )
    self._confidence: list[np.ndarray] = []
    self._correct: list[np.ndarray] = []

  def add(self, batch: EpisodeBatch, found: Prediction, species: np.ndarray) -> None:
    """Adds the prediction for one episode."""
    query, valid = batch.query, np.asarray(valid_queries(batch))[0]
    asked = batch.support.visible[0].any(0)
    points = np.zeros(query.keypoints.shape)
    to_crop = geometry.invert_affine(query.to_original[0].astype(np.float64))
    count = len(found.names)
    points[0, :, :count] = geometry.apply_affine(to_crop, found.keypoints)
    points[:, :, ~asked] = 0.0  # were NaN; they are not scored
    self._pck.add(batch, points, species)
    errors = np.linalg.norm(points[0] - query.keypoints[0], axis=-1)
    sides = query.box[0, :, 2:].max(-1) / geometry.affine_scale(query.to_original[0])
    correct = valid & (errors <= THRESHOLD * sides[:, None])
    self._confidence.append(found.confidence[:, asked[:count]].ravel())
    self._correct.append(correct[:, asked].ravel())

  def summary(self) -> dict[str, Any]:
    """Returns PCK by threshold, mean confidence and the fraction that is right."""
    confidence, correct = map(np.concatenate, (self._confidence, self._correct))
    return {
      "pck": self._pck.summary()["pck"],
      "confidence": float(confidence.mean()),
      "right": float(correct.mean()),
      "calibration_error": reliability.measure(confidence, correct).error,
    }


def searcher(
  model: Model, calibrated: calibration.Calibration | None
) -> Callable[..., dict[str, Any]]:
  """Returns `compare` for the detector that users call."""
  return functools.partial(compare, KeypointDetector(model, calibrated))


def compare(
  detector: KeypointDetector,
  feed: Feed,
  sampler: EpisodeSampler,
  cfg: EvalConfig,
  label: str = "",
) -> dict[str, Any]:
  """Scores a detector with the boxes of the queries given, and without them.

  Args:
    detector: The detector of the run; if not calibrated, confidence is a raw score.
    feed: The data set.
    sampler: The sampler of the setting.
    cfg: Thresholds and number of episodes: the first `search_episodes` are used.
    label: Label of the progress bar; without it no bar is shown.

  Returns:
    "episodes", and for each of `SEARCH_WAYS`: "pck" by threshold as
    `scores.episode_mean`, the mean "confidence", the fraction that is "right" (visible
    and found within `outcomes.THRESHOLD`), and the "calibration_error"; all 0..1.
  """
  count = min(cfg.search_episodes, cfg.episodes)
  scores = {way: _Scores(feed, cfg) for way in SEARCH_WAYS}
  by_id = {instance.instance_id: instance for instance in feed.dataset.instances}
  shown = parallel.is_main_process() and label
  for index in tqdm(range(count), label, unit="ep", disable=not shown):
    batch = stack([sampler.plan(index)])
    species = feed.species(batch.query.instance)
    support = _support(detector, feed, batch, by_id)
    pixels = _pixels(feed, batch.query.images[0])
    for way, boxes in zip(SEARCH_WAYS, (list(batch.query.box[0]), None)):
      scores[way].add(batch, detector.predict(support, pixels, boxes), species)
  return {"episodes": count} | {way: scores[way].summary() for way in SEARCH_WAYS}


def _support(
  detector: KeypointDetector,
  feed: Feed,
  batch: EpisodeBatch,
  instances: dict[int, Instance],
) -> Support:
  """Returns the support of an episode, without images that show no keypoint."""
  views, ids = batch.support, batch.keypoint_ids[0]
  ids = ids[ids != PADDING]
  visible: Bool[np.ndarray, "k n"] = views.visible[0, :, : len(ids)]
  annotated = np.stack([instances[i].keypoints[ids] for i in views.instance[0]])
  points: Float[np.ndarray, "k n 2"] = np.where(visible[..., None], annotated, np.nan)
  useful = np.flatnonzero(visible.any(1))
  return detector.support(
    _pixels(feed, views.images[0, useful]),
    list(points[useful]),
    list(views.box[0, useful]),
    names=feed.type_names(ids),
  )


def _pixels(feed: Feed, numbers: Sequence[int]) -> list[np.ndarray]:
  names = feed.dataset.image_names
  return [images.decode(feed.dataset.read_image(i), names[i]) for i in numbers]
