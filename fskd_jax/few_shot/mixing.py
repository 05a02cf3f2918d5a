"""Mixes streams of episodes: sources, labelled and self-supervised, in common slots."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from fskd_jax.config import DataConfig, TrainConfig
from fskd_jax.data.feed import Feed, Source
from fskd_jax.data.plans import Sampler
from fskd_jax.episode import PADDING, EpisodeBatch, all_views
from fskd_jax.few_shot import pools, self_supervision

_CHOICE = 1
"""Third number of the seed of this file's draws; samplers seed with two numbers."""


class Stream(NamedTuple):
  """One kind of episode.

  Attributes:
    name: The name of the source for messages; "" for a data set by itself.
    weight: The weight of its episodes among those of all streams.
    sampler: The sampler of the episodes.
  """

  name: str
  weight: float
  sampler: Sampler


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MixedSampler:
  """Plans episodes of several streams; made by `training_sampler`.

  Attributes:
    streams: The streams.
    edges: The cumulative probability of the streams, without the last.
    cfg: The data set, with its `slots`.
    seed: The seed of the stream of streams.
  """

  streams: tuple[Stream, ...]
  edges: Float64[np.ndarray, " s"]
  cfg: DataConfig
  seed: int

  def plan(self, index: int) -> EpisodeBatch:
    """Plans episode `index`: of a random stream, its types in random slots.

    Raises:
      ValueError: The stream could not draw an episode. The message names the source.
    """
    rng = np.random.default_rng([self.seed, index, _CHOICE])
    stream = self.streams[np.searchsorted(self.edges, rng.random(), side="right")]
    with _naming(stream.name):
      return in_slots(stream.sampler.plan(index), self.cfg.slots, rng)


def in_slots(plan: EpisodeBatch, slots: int, rng: np.random.Generator) -> EpisodeBatch:
  """Puts the types of an episode into random slots, each type at most once.

  If there are more types than slots, a random subset is chosen, first of the types
  that at least two images show, then of the others. Empty slots are padding.

  Args:
    plan: One episode.
    slots: The number of slots of the result.
    rng: The random generator, which is advanced.
  """
  seen = all_views(plan).visible.sum(axis=0)
  held = np.flatnonzero(plan.keypoint_ids != PADDING)
  held = rng.permutation(held)
  useful = np.argsort(seen[held] < 2, kind="stable")
  chosen = held[useful][:slots]
  places = rng.permutation(slots)[: len(chosen)]

  def moved(field: np.ndarray, axis: int, empty: float) -> np.ndarray:
    field = np.moveaxis(field, axis, 0)
    result = np.full((slots, *field.shape[1:]), empty, field.dtype)
    result[places] = field[chosen]
    return np.moveaxis(result, 0, axis)

  support, query = (
    views._replace(
      keypoints=moved(views.keypoints, 1, 0), visible=moved(views.visible, 1, False)
    )
    for views in (plan.support, plan.query)
  )
  return plan._replace(
    support=support,
    query=query,
    keypoint_ids=moved(plan.keypoint_ids, 0, PADDING),
    is_auxiliary=moved(plan.is_auxiliary, 0, False),
  )


def training_sampler(feed: Feed, cfg: TrainConfig) -> Sampler:
  """Returns the sampler of training, of one data set or of a mixture.

  Raises:
    ValueError: A split holds too little for an episode.
  """
  data = feed.cfg
  if not data.slots:
    return pools.training_sampler(feed, cfg)
  first_id = len(feed.dataset.keypoint_names) + len(feed.types.auxiliary.knots)
  parts = feed.sources or {"": Source(feed, 1.0, np.arange(first_id, dtype=np.int32))}
  streams = [
    stream
    for name, source in parts.items()
    if source.weight
    for stream in _streams(name, source, cfg, first_id)
  ]
  weights = np.array([stream.weight for stream in streams])
  return MixedSampler(
    streams=tuple(streams),
    edges=np.cumsum(weights)[:-1] / weights.sum(),
    cfg=data,
    seed=cfg.seed,
  )


def _streams(
  name: str, source: Source, cfg: TrainConfig, first_id: int
) -> list[Stream]:
  """Returns the labelled and the self-supervised episodes of a source."""
  feed, share = source.feed, source.feed.cfg.self_supervised.share
  streams = []
  if share < 1:
    with _naming(name):
      labelled = pools.training_sampler(feed, cfg).numbered(source.ids)
    streams.append(Stream(name, (1 - share) * source.weight, labelled))
  if share:
    points = self_supervision.make_sampler(feed.splits.train, feed.cfg, cfg, first_id)
    streams.append(Stream(name, share * source.weight, points))
  return streams


@contextlib.contextmanager
def _naming(source: str) -> Iterator[None]:
  """Adds the name of a source to the messages of errors."""
  try:
    yield
  except ValueError as error:
    if not source:
      raise
    raise ValueError(f"source {source!r} of data.mixture: {error}") from error
