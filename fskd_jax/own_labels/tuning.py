"""Trains a detector a little on a few labelled objects in memory."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fskd_jax import config, experiment
from fskd_jax.config import Config, source_data
from fskd_jax.data import unlabelled
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.feed import Feed
from fskd_jax.data.splits import Splits
from fskd_jax.device.store import ImageStore
from fskd_jax.few_shot import recipe
from fskd_jax.own_labels import engine
from fskd_jax.training import loop

LEAST_IMAGES = 12
"""Images count several times until there are so many: the images of an episode differ,
and those of a single one are then different views of it."""


class Tuner:
  """A detector, and labels to train it on.

  Attributes:
    start: The state before the first step.
  """

  def __init__(
    self, dataset: KeypointDataset, frames: KeypointDataset | None, cfg: Config
  ):
    """Decodes all images.

    Args:
      dataset: The labelled objects.
      frames: Photographs without labels, or None.
      cfg: The configuration that `recipe.choose_gently` returned.

    Raises:
      ValueError: An image cannot be decoded, or the configuration is wrong.
    """
    config.validate(cfg)
    sources = {recipe.LABELS: dataset}
    if frames is not None:
      data = next(x for x in cfg.data.mixture if x.name == recipe.UNLABELLED)
      views = source_data(cfg.data, data)
      sources[recipe.UNLABELLED] = unlabelled.sized(frames, views)
    self._cfg, self._labelled = cfg, len(dataset.image_names)
    self._feed = Feed.of_sources(sources, cfg.data, cfg.train.backend)
    self._total = len(self._feed.dataset.image_names)
    self.start = loop.new_state(experiment.make_task(cfg), cfg)

  def seconds_per_step(self) -> float:
    """Returns the time of a step on this machine."""
    feed = self._of(range(len(self._objects())))
    return engine.seconds_per_step(self._cfg, feed, self.start)

  def fit(self, rows: Sequence[int], steps: int) -> dict[str, Any]:
    """Returns the variables after training on some of the objects."""
    cfg = recipe.with_steps(self._cfg, steps)
    task, step_fn = experiment.make_task(cfg), experiment.compiled_step(cfg)
    state = loop.fit(task, self._of(rows), self.start, cfg, step_fn=step_fn)
    return jax.device_get(engine.variables_of(state))

  def _objects(self) -> Sequence[Instance]:
    return self._feed.sources[recipe.LABELS].feed.dataset.instances

  def _of(self, rows: Sequence[int]) -> Feed:
    """Returns the feed with some of the labelled objects alone, repeated."""
    objects = [self._objects()[row] for row in rows]
    times = -(-LEAST_IMAGES // len({instance.image for instance in objects}))
    train = tuple(
      dataclasses.replace(instance, image=self._number(instance.image, turn))
      for turn in range(times)
      for instance in objects
    )
    source = self._feed.sources[recipe.LABELS]
    feed = dataclasses.replace(source.feed, splits=Splits(train, (), (), ()))
    sources = {**self._feed.sources, recipe.LABELS: source._replace(feed=feed)}
    return dataclasses.replace(self._feed, sources=sources, store=self._store())

  def _number(self, image: int, turn: int) -> int:
    """Returns another number of a labelled image for every turn."""
    return image if turn == 0 else self._total + (turn - 1) * self._labelled + image

  def _store(self) -> ImageStore | None:
    """Returns the images, with the numbers of `_number`; no pixel is copied."""
    store = self._feed.store
    if store is None:
      return None

    def extended(index: Any) -> Any:
      more = [index[: self._labelled]] * (LEAST_IMAGES - 1)
      return jnp.concatenate([index, *more])

    return store._replace(offsets=extended(store.offsets), sizes=extended(store.sizes))


def between(start: Any, end: Any, share: float) -> Any:
  """Returns the variables at a part of the way from one tree to another."""
  return jax.tree.map(lambda a, b: (a + share * (b - a)).astype(a.dtype), start, end)
