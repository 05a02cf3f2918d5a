"""Runs detectors and baselines on fixed episodes, and scores them."""

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fskd_jax.config import Config, EvalConfig, crop_size, keeping
from fskd_jax.data.evaluation_batches import evaluation_batches
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler
from fskd_jax.device import parallel
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.few_shot.encoded import EncodedCrops
from fskd_jax.few_shot.outcomes import Outcomes, concatenate, outcomes_of
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.metrics.distances import recovery_scale
from fskd_jax.metrics.mistakes import Judge
from fskd_jax.metrics.record import EpisodeRecord
from fskd_jax.metrics.results import headline
from fskd_jax.metrics.scores import EpisodeScores
from fskd_jax.models.build import make_detector
from fskd_jax.models.detector import DetectorOutput

Reader = Callable[[EpisodeBatch], Readout]
"""Function that reads the keypoints of a batch from `Feed.batches`: [b m n ..], in
pixels of crops."""

Predictor = Callable[[EpisodeBatch], Readout | np.ndarray]
"""A `Reader`, or a baseline that gives only the keypoints, [b m n 2]."""


class Scores(NamedTuple):
  """Scores of predictors on the same episodes.

  Attributes:
    summaries: The `EpisodeScores.summary` of each predictor.
    record: The episodes and their scores, as returned by `EpisodeRecord.to_json`.
    outcomes: The outcomes of each predictor that is a `Reader`.
  """

  summaries: dict[str, dict[str, Any]]
  record: dict[str, Any]
  outcomes: dict[str, Outcomes]


def run_detector(
  cfg: Config,
  feed: Feed,
  reduce: Callable[[DetectorOutput, EpisodeBatch], Any],
  backend: str | None = None,
  kept_as: str = "",
) -> Callable[[Any, EpisodeBatch], Any]:
  """Compiles a detector for the batches of a feed.

  Args:
    cfg: Configuration of the detector.
    feed: The data set, on the devices of the backend.
    reduce: Function of output and batch that gives the result, a tree of arrays [b ..].
    backend: One of `parallel.BACKENDS`; None takes `cfg.train.backend`.
    kept_as: Name under which the program is kept for the next detector of the same
      configuration, if `reduce` follows from both; "" keeps none.

  Returns:
    `(variables, batch) -> tree of NumPy arrays [b ..]`, on every device of the backend.
    The batch is one from `Feed.batches`, also with maps in the place of its images.
  """
  backend = backend or cfg.train.backend
  make = lambda: _compiled(*copy.deepcopy((cfg, reduce)), backend)
  run = keeping.kept((kept_as, cfg, backend), make) if kept_as else make()

  def run_on(variables: Any, batch: EpisodeBatch) -> Any:
    is_encoded = isinstance(batch.query.images, tuple)
    return run(variables, batch, None if is_encoded else feed.store)

  return run_on


def _compiled(
  cfg: Config, reduce: Callable[[DetectorOutput, EpisodeBatch], Any], backend: str
) -> Callable[..., Any]:
  step = functools.partial(
    few_shot_step.eval_step, detector=make_detector(cfg), reduce=reduce
  )
  return parallel.parallelize_evaluation(step, backend, crop_size(cfg.data))


def keypoint_reader(
  cfg: Config, feed: Feed, backend: str | None = None, prior: Prior | None = None
) -> Callable[[Any, EpisodeBatch], Readout]:
  """Returns (variables, batch) -> `Readout`.

  Args:
    cfg: Configuration of the detector.
    feed: The data set, on the devices of the backend.
    backend: As for `run_detector`.
    prior: Prior of all keypoints of an image together; None for none.
  """
  read = functools.partial(
    few_shot_step.read_keypoints,
    image_size=cfg.data.image_size,
    loss=cfg.loss,
    kind=cfg.eval.decoding,
    prior=prior,
  )
  return run_detector(cfg, feed, read, backend, kept_as=f"reader with {prior}")


def reader_of(
  cfg: Config,
  feed: Feed,
  variables: Any,
  backend: str | None = None,
  prior: Prior | None = None,
) -> Reader:
  """Returns batch -> `Readout` of one detector, which encodes every crop once.

  Args:
    cfg: Configuration of the detector.
    feed: The data set, on the devices of the backend.
    variables: Variables of the detector, as returned by `parallel.replicate`.
    backend: As for `run_detector`.
    prior: As for `keypoint_reader`.
  """
  read = keypoint_reader(cfg, feed, backend, prior)
  crops = EncodedCrops(cfg, feed, variables, backend)
  return lambda batch: read(variables, crops.put_into(batch))


def score(
  predictors: Mapping[str, Predictor],
  feed: Feed,
  sampler: Sampler,
  cfg: EvalConfig,
  *,
  episodes: int,
  label: str = "",
) -> Scores:
  """Scores predictors on the episodes 0 .. episodes - 1 of a sampler, in one pass.

  Args:
    predictors: Predictors by name; all see the same episodes.
    feed: The data set.
    sampler: The sampler of a setting.
    cfg: Thresholds, protocol and batch size.
    episodes: Number of episodes.
    label: Label of the progress bar; none is shown without.
  """
  names = feed.dataset.keypoint_names
  recovery = recovery_scale(cfg.protocol, feed.cfg.image_size)
  judge = Judge(feed.permutation(), headline(cfg))
  scores = {
    name: EpisodeScores(cfg.thresholds, names, recovery, judge) for name in predictors
  }
  outcomes: dict[str, list[Outcomes]] = {}
  record = EpisodeRecord(feed.type_names)
  with evaluation_batches(
    feed, sampler, episodes, cfg.batch_episodes, label=label
  ) as batches:
    for batch in batches:
      species = feed.species(batch.query.instance)
      record.add(batch, species)
      for name, predict in predictors.items():
        found = predict(batch)
        if isinstance(found, Readout):
          outcomes.setdefault(name, []).append(outcomes_of(batch, found))
          found = np.asarray(found.keypoints)
        scores[name].add(batch, found, species)
  return Scores(
    summaries={name: found.summary() for name, found in scores.items()},
    record=record.to_json(
      {name: found.per_episode() for name, found in scores.items()}
    ),
    outcomes={name: concatenate(parts) for name, parts in outcomes.items()},
  )
