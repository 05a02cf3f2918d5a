"""Turns episode indices into batches of a data set, by either executor."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Generator, Iterable, Sequence

import jax
import numpy as np

from fskd_jax.config import DataConfig, crop_size
from fskd_jax.data import fingerprint, resident, sources
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.plans import Sampler
from fskd_jax.data.splits import (
  KeypointTypes,
  Splits,
  check_names,
  flip_permutation,
  keypoint_types,
  split_instances,
)
from fskd_jax.device import parallel, processes
from fskd_jax.device import store as image_store
from fskd_jax.episode import EpisodeBatch

_log = logging.getLogger(__name__)
_materialize = jax.jit(image_store.materialize, static_argnames="size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
  """A data set with its splits, from which batches of episodes are made.

  Attributes:
    cfg: The configuration of the data set.
    dataset: The annotated images.
    splits: The instances by split.
    types: The keypoint types of the experiment.
    store: The decoded images on the devices for `resident`, None for `tfdata`. Pass it
      to steps as an argument: captured as a constant it makes them ten times slower.
  """

  cfg: DataConfig
  dataset: KeypointDataset
  splits: Splits
  types: KeypointTypes
  store: image_store.ImageStore | None

  @classmethod
  def open(cls, cfg: DataConfig, backend: str = "single") -> "Feed":
    """Loads, checks and splits the data set that a configuration names.

    Args:
      cfg: The data set and its splits.
      backend: The backend of `parallel.replicate`, whose devices get the images.

    Raises:
      ValueError, FileNotFoundError: The data set or the names in `cfg` are wrong.
    """
    dataset = processes.main_first(lambda: sources.load_dataset(cfg))
    processes.check_same(
      lambda: fingerprint.of_dataset(dataset), "give all the same data set"
    )
    return cls.of(dataset, cfg, backend)

  @classmethod
  def of(
    cls, dataset: KeypointDataset, cfg: DataConfig, backend: str = "single"
  ) -> "Feed":
    """Splits a data set in memory; arguments and errors as `open`."""
    check_names(cfg, dataset)
    types = keypoint_types(cfg, dataset.keypoint_names)
    splits = split_instances(dataset, cfg)
    store = None
    if cfg.executor == "resident":
      images = processes.together(lambda: resident.load_store(dataset))
      store = parallel.replicate(images, backend)
    return cls(cfg=cfg, dataset=dataset, types=types, splits=splits, store=store)

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

  def why_empty(self, setting: str) -> str:
    """Returns the reason that a setting holds nothing to score, or "" if it does."""
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
      settings: Names of settings, as in `EvalConfig.settings`.
      may_be_none: Whether the result may be empty.

    Raises:
      ValueError: No setting holds anything.
    """
    reasons = {name: why for name in settings if (why := self.why_empty(name))}
    told = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items())
    if len(reasons) == len(settings) and not may_be_none:
      raise ValueError(f"eval.settings hold nothing to score: {told}")
    if reasons and parallel.is_main_process():
      _log.warning("settings left out of the evaluation: %s", told)
    return [name for name in settings if name not in reasons]

  def species(self, instance: np.ndarray) -> np.ndarray:
    """Returns the species names of the ids in `Views.instance`."""
    return np.vectorize(self._species_of.__getitem__, otypes=[object])(instance)

  def type_names(self, keypoint_ids: np.ndarray) -> list[str]:
    """Returns names for ids; auxiliary types are named by their ends."""
    names = self.dataset.keypoint_names
    ends, knots = self.types.auxiliary
    auxiliary = [f"{names[a]} ~ {names[b]} {t:g}" for (a, b), t in zip(ends, knots)]
    return [(*names, *auxiliary, "")[i] for i in keypoint_ids]

  @functools.cached_property
  def _species_of(self) -> dict[int, str]:
    return {found.instance_id: found.species for found in self.dataset.instances}

  def permutation(self) -> np.ndarray:
    """Returns `splits.flip_permutation` of the vocabulary."""
    return flip_permutation(self.dataset.keypoint_names, self.cfg.flip_pairs)
