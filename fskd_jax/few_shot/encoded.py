"""Encodes every crop of an evaluation once, whichever episodes it is in."""

import collections
import copy
from typing import Any

import jax
import numpy as np

from fskd_jax.config import Config, crop_size, keeping
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.models.build import make_detector

MOST_BYTES = 2**29
"""Size of the maps that are kept in host memory; the oldest go first."""

_TOGETHER = 8  # crops; few, because those of a batch that are new are filled up to it

_Key = tuple[int, bytes]


class EncodedCrops:
  """The maps of the crops that a detector has met.

  An evaluation crop follows from its object alone: the 6,000 crops of 1,000 episodes
  are of a few hundred objects.

  Attributes:
    pays: Whether maps are kept. Not on accelerators, which would fetch them hardly
      faster than make them, and not by several processes, each of which works on its
      part of a batch.
  """

  def __init__(
    self, cfg: Config, feed: Feed, variables: Any, backend: str | None = None
  ):
    """Compiles the encoder.

    Args:
      cfg: Configuration of the detector.
      feed: The data set, on the devices of the backend.
      variables: Variables of the detector, as returned by `parallel.replicate`.
      backend: One of `parallel.BACKENDS`; None takes `cfg.train.backend`.
    """
    self.pays = jax.default_backend() == "cpu" and jax.process_count() == 1
    backend = backend or cfg.train.backend
    self._run = keeping.kept(
      ("encoder", cfg, backend), lambda: _compiled(copy.deepcopy(cfg), backend)
    )
    self._store, self._variables = feed.store, variables
    self._maps: collections.OrderedDict[_Key, tuple[np.ndarray, ...]]
    self._maps, self._bytes = collections.OrderedDict(), 0

  def put_into(self, batch: EpisodeBatch) -> EpisodeBatch:
    """Returns a batch with the maps of its crops in the place of images.

    Args:
      batch: A batch from `Feed.batches`.
    """
    if not self.pays:
      return batch
    both = [(views, _keys(views)) for views in (batch.support, batch.query)]
    places = {
      key: (views, *place)
      for views, keys in both
      for place, key in np.ndenumerate(keys)
    }
    found = {key: self._maps[key] for key in places if key in self._maps}
    new = [key for key in places if key not in found]
    for start in range(0, len(new), _TOGETHER):
      keys = new[start : start + _TOGETHER]
      encoded = self._run(
        self._variables, _crops(batch, [places[key] for key in keys]), self._store
      )
      for number, key in enumerate(keys):
        found[key] = tuple(maps[number, 0].copy() for maps in encoded)
        self._keep(key, found[key])
    support, query = (_with_maps(views, keys, found) for views, keys in both)
    return batch._replace(support=support, query=query)

  def _keep(self, key: _Key, maps: tuple[np.ndarray, ...]) -> None:
    self._maps[key] = maps
    self._bytes += sum(x.nbytes for x in maps)
    while self._bytes > MOST_BYTES:
      _, oldest = self._maps.popitem(last=False)
      self._bytes -= sum(x.nbytes for x in oldest)


def _compiled(cfg: Config, backend: str) -> Any:
  detector = make_detector(cfg)

  def encode(variables: Any, batch: EpisodeBatch) -> Any:
    return detector.apply(variables, batch.query.images, method="encode")

  return parallel.parallelize_evaluation(encode, backend, crop_size(cfg.data))


def _keys(views: Views) -> np.ndarray:
  """Returns what tells crops [b t] apart: object and place."""
  keys = np.empty(views.instance.shape, object)
  for place, instance in np.ndenumerate(views.instance):
    keys[place] = int(instance), views.to_original[place].tobytes()
  return keys


def _crops(batch: EpisodeBatch, places: list[tuple[Views, int, int]]) -> EpisodeBatch:
  """Returns crops as the only queries of as many episodes, with no support."""
  size = parallel.divisible_batch(_TOGETHER)
  places = places + places[-1:] * (size - len(places))
  query = Views(
    *(
      np.stack([np.asarray(getattr(views, field))[i, j] for views, i, j in places])[
        :, None
      ]
      for field in Views._fields
    )
  )
  return EpisodeBatch(
    support=Views(*(x[:, :0] for x in query)),
    query=query,
    keypoint_ids=np.asarray(batch.keypoint_ids)[:1].repeat(size, 0),
    is_auxiliary=np.asarray(batch.is_auxiliary)[:1].repeat(size, 0),
    episode_index=np.arange(size, dtype=np.int32),
  )


def _with_maps(
  views: Views, keys: np.ndarray, found: dict[_Key, tuple[np.ndarray, ...]]
) -> Views:
  rows = [found[key] for key in keys.ravel()]
  maps = tuple(np.stack(x).reshape(*keys.shape, *x[0].shape) for x in zip(*rows))
  return views._replace(images=maps)
