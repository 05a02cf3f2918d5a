"""Turns episode indices into batches of a data set, by one of three executors."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int32

from fskd_jax.config import DataConfig, crop_size, source_data
from fskd_jax.data import fingerprint, resident, sources
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.keypoint_types import (
  AuxiliaryTypes,
  KeypointTypes,
  flip_permutation,
  look_up,
)
from fskd_jax.data.mixture import Mixture, combine
from fskd_jax.data.plans import Sampler
from fskd_jax.data.splits import Splits, check_names, split_instances
from fskd_jax.device import parallel, processes
from fskd_jax.device import store as image_store
from fskd_jax.episode import EpisodeBatch

_log = logging.getLogger(__name__)
_materialize = jax.jit(image_store.materialize, static_argnames="size")


class Source(NamedTuple):
  """A source of a mixture.

  Attributes:
    feed: The source by itself, with the images and the store of the whole mixture.
    weight: The weight of its training episodes; 0 where it is held out.
    ids: The number in the mixture of each of its types, auxiliary ones last.
  """

  feed: "Feed"
  weight: float
  ids: Int32[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
  """A data set with its splits, from which batches of episodes are made.

  Attributes:
    cfg: The configuration of the data set.
    dataset: The annotated images.
    splits: The instances by split.
    types: The keypoint types of the experiment.
    store: The decoded images on the devices for `resident`, otherwise None. Pass it
      to steps as an argument: captured as a constant it makes them ten times slower.
    sources: The sources of a mixture by name, empty for a single data set. A mixture's
      own data set, splits and types are those of all sources together.
  """

  cfg: DataConfig
  dataset: KeypointDataset
  splits: Splits
  types: KeypointTypes
  store: image_store.ImageStore | None
  sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)

  @classmethod
  def open(cls, cfg: DataConfig, backend: str = "single") -> "Feed":
    """Loads, checks and splits the data set that a configuration names.

    Args:
      cfg: The data set and its splits.
      backend: The backend of `parallel.replicate`, whose devices get the images.

    Raises:
      ValueError, FileNotFoundError: The data set or the names in `cfg` are wrong.
    """
    if cfg.mixture:
      return cls._open_mixture(cfg, backend)
    dataset = processes.main_first(lambda: sources.load_dataset(cfg))
    _check_same(dataset)
    return cls.of(dataset, cfg, backend)

  @classmethod
  def of(
    cls, dataset: KeypointDataset, cfg: DataConfig, backend: str = "single"
  ) -> "Feed":
    """Splits a data set in memory; arguments and errors as `open`."""
    return cls._split(dataset, cfg, _load_store(dataset, cfg, backend))

  @classmethod
  def _split(
    cls, dataset: KeypointDataset, cfg: DataConfig, store: image_store.ImageStore | None
  ) -> "Feed":
    check_names(cfg, dataset)
    types = look_up(cfg, dataset.keypoint_names)
    splits = split_instances(dataset, cfg)
    return cls(cfg=cfg, dataset=dataset, types=types, splits=splits, store=store)

  @classmethod
  def _open_mixture(cls, cfg: DataConfig, backend: str) -> "Feed":
    """Opens the sources of a mixture under common numbers."""
    data = {s.name: source_data(cfg, s) for s in sources.present_sources(cfg)}
    datasets = {
      name: processes.main_first(lambda own=own: sources.load_dataset(own))
      for name, own in data.items()
    }
    return cls.of_sources(datasets, cfg, backend)

  @classmethod
  def of_sources(
    cls, datasets: Mapping[str, KeypointDataset], cfg: DataConfig, backend: str
  ) -> "Feed":
    """Splits sources of a mixture in memory, given by name; else as `open`."""
    data = {s.name: source_data(cfg, s) for s in cfg.mixture if s.name in datasets}
    mixture = combine(datasets, {s.name: s.aliases for s in cfg.mixture})
    _check_same(mixture.whole)
    store = _load_store(mixture.whole, cfg, backend)
    weights = {s.name: 0.0 if s.name in cfg.holdout else s.weight for s in cfg.mixture}
    found, first = {}, len(mixture.whole.keypoint_names)
    for name, dataset in mixture.parts.items():
      try:
        feed = cls._of_source(dataset, data[name], store, name in cfg.holdout)
      except ValueError as error:
        raise ValueError(f"source {name!r} of data.mixture: {error}") from error
      auxiliary = first + np.arange(len(feed.types.auxiliary.knots))
      first += len(auxiliary)
      ids = np.concatenate([mixture.type_ids[name], auxiliary]).astype(np.int32)
      found[name] = Source(feed, weights[name], ids)
    return _together(cfg, mixture, found, store)

  @classmethod
  def _of_source(
    cls,
    dataset: KeypointDataset,
    cfg: DataConfig,
    store: image_store.ImageStore | None,
    is_held_out: bool,
  ) -> "Feed":
    """Splits a source; all of one that is held out is "unseen/novel"."""
    names = dataset.keypoint_names
    if is_held_out:
      cfg = dataclasses.replace(cfg, base=(), novel=names, auxiliary_paths=())
      check_names(cfg, dataset)
      types = look_up(cfg, names)
      splits = Splits((), (), (), dataset.instances)
      return cls(cfg=cfg, dataset=dataset, types=types, splits=splits, store=store)
    if not cfg.base:
      base = tuple(name for name in names if name not in cfg.novel)
      cfg = dataclasses.replace(cfg, base=base)
    return cls._split(dataset, cfg, store)

  def batches(
    self,
    sampler: Sampler,
    index_batches: Iterable[Sequence[int]],
    batch_size: int,
  ) -> contextlib.closing[Generator[EpisodeBatch, None, None]]:
    """Returns a stream of batches of NumPy arrays; short lists of indices are padded.

    Use it in a `with` statement: threads that outlive an error can keep Python from
    ending.
    """
    if self.store is not None:
      return contextlib.closing(
        resident.episode_batches(sampler, index_batches, batch_size)
      )
    if self.cfg.executor == "grain":
      from fskd_jax.data import grain_pipeline  # takes a second

      return contextlib.closing(
        grain_pipeline.episode_batches(
          self.dataset, sampler, index_batches, batch_size, self.cfg.workers
        )
      )
    from fskd_jax.data import pipeline  # TensorFlow

    return contextlib.closing(
      pipeline.episode_batches(self.dataset, sampler, index_batches, batch_size)
    )

  def pixels(self, batch: EpisodeBatch) -> tuple[np.ndarray, np.ndarray]:
    """Returns a batch's support and query pixels, uint8, for drawing.

    All processes call it with the same batch.
    """
    if self.store is not None:
      batch = _materialize(self.store, batch, crop_size(self.cfg))
    support, query = (
      np.asarray(views.images).round().astype(np.uint8)
      for views in (batch.support, batch.query)
    )
    return support, query

  def instances(self, split: str) -> Sequence[Instance]:
    """Returns the instances of a split, or of the whole data set for "all"."""
    return self.dataset.instances if split == "all" else getattr(self.splits, split)

  def types_of(self, kind: str) -> np.ndarray:
    """Returns the types in the list "base" or "novel", or, for "other", in neither."""
    if kind == "other":
      listed = np.concatenate([self.types.base, self.types.novel])
      return np.setdiff1d(np.arange(len(self.dataset.keypoint_names)), listed).astype(
        np.int32
      )
    return {"base": self.types.base, "novel": self.types.novel}[kind]

  def part(self, setting: str) -> tuple["Feed", str]:
    """Returns the source of a setting "split/types@source", and the setting in it."""
    setting, _, name = setting.partition("@")
    return (self.sources[name].feed if name else self), setting

  def expand(self, settings: Sequence[str]) -> list[str]:
    """Returns settings by source: "unseen/novel" becomes "unseen/novel@faces" etc."""
    if not self.sources:
      return [*settings]
    return [f"{setting}@{name}" for setting in settings for name in self.sources]

  def why_empty(self, setting: str) -> str:
    """Returns the reason that a setting holds nothing to score, or "" if it does."""
    feed, setting = self.part(setting)
    if feed is not self:
      return feed.why_empty(setting)
    split, kind = setting.split("/")
    instances, types = self.instances(split), self.types_of(kind)
    if instances and len(types):
      if any(instance.visible[types].any() for instance in instances):
        return ""
      return (
        f"none of the {len(instances)} instances in split {split!r} shows one of its "
        f"{len(types)} {kind} types"
      )
    return (
      f"{len(instances)} instances in split {split!r} and {len(types)} {kind} types; "
      "set data.*_species, data.*_fraction, data.novel, or leave the setting out of "
      "eval.settings"
    )

  def held(self, settings: Sequence[str], *, may_be_none: bool = False) -> list[str]:
    """Returns the settings that hold something to score; a warning names the others.

    Args:
      settings: Names of settings, as in `EvalConfig.settings`; those of a mixture are
        scored source by source, see `expand`.
      may_be_none: Whether the result may be empty.

    Raises:
      ValueError: No setting holds anything.
    """
    expanded = self.expand(settings)
    reasons = {name: why for name in expanded if (why := self.why_empty(name))}
    told = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items())
    if len(reasons) == len(expanded) and not may_be_none:
      raise ValueError(f"eval.settings hold nothing to score: {told}")
    if reasons and parallel.is_main_process():
      if self.sources:  # of which each has some of the settings
        told = ", ".join(reasons)
      _log.warning("settings left out of the evaluation: %s", told)
    return [name for name in expanded if name not in reasons]

  def species(self, instance: np.ndarray) -> np.ndarray:
    """Returns the species names of the ids in `Views.instance`."""
    return np.vectorize(self._species_of.__getitem__, otypes=[object])(instance)

  def type_names(self, keypoint_ids: np.ndarray) -> list[str]:
    """Returns names for ids.

    Auxiliary types are named by their ends, points of self-supervised episodes "point".
    """
    names = self.dataset.keypoint_names
    ends, knots = self.types.auxiliary
    auxiliary = [f"{names[a]} ~ {names[b]} {t:g}" for (a, b), t in zip(ends, knots)]
    known = (*names, *auxiliary, "")
    return [known[i] if i < len(known) - 1 else "point" for i in keypoint_ids]

  @functools.cached_property
  def _species_of(self) -> dict[int, str]:
    return {found.instance_id: found.species for found in self.dataset.instances}

  def permutation(self) -> np.ndarray:
    """Returns `keypoint_types.flip_permutation` of the vocabulary.

    In a mixture a type has the partner that its source gives it.
    """
    if self.sources:
      whole = np.arange(len(self.dataset.keypoint_names), dtype=np.int32)
      for source in self.sources.values():
        partner = source.feed.permutation()
        whole[source.ids[: len(partner)]] = source.ids[partner]
      return whole
    return flip_permutation(self.dataset.keypoint_names, self.cfg.flip_pairs)


def _check_same(dataset: KeypointDataset) -> None:
  """Checks that all processes have the data set."""
  processes.check_same(
    lambda: fingerprint.of_dataset(dataset), "give all the same data set"
  )


def _load_store(
  dataset: KeypointDataset, cfg: DataConfig, backend: str
) -> image_store.ImageStore | None:
  sources.check_executor(cfg.executor)
  if cfg.executor != "resident":
    return None
  images = processes.together(lambda: resident.load_store(dataset))
  return parallel.replicate(images, backend)


def _together(
  cfg: DataConfig,
  mixture: Mixture,
  found: Mapping[str, Source],
  store: image_store.ImageStore | None,
) -> Feed:
  """Returns the feed of a mixture, given those of its sources."""
  whole = mixture.whole
  by_id = {instance.instance_id: instance for instance in whole.instances}
  feeds = [(source.feed, source.ids) for source in found.values()]
  splits = Splits(
    *(
      tuple(by_id[i.instance_id] for feed, _ in feeds for i in getattr(feed.splits, n))
      for n in Splits._fields
    )
  )

  def collected(field: str) -> np.ndarray:
    parts = [ids[getattr(feed.types, field)] for feed, ids in feeds]
    return np.unique(np.concatenate(parts)).astype(np.int32)

  ends = [ids[feed.types.auxiliary.ends] for feed, ids in feeds]
  knots = [feed.types.auxiliary.knots for feed, _ in feeds]
  types = KeypointTypes(
    base=collected("base"),
    novel=collected("novel"),
    auxiliary=AuxiliaryTypes(np.concatenate(ends), np.concatenate(knots)),
  )
  return Feed(
    cfg=cfg, dataset=whole, splits=splits, types=types, store=store, sources=found
  )
