"""A data set behind one of the two executors: episodes in, batches out."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from fskd_jax import processes, run_facts
from fskd_jax.config import DataConfig, EvalConfig, TrainConfig, crop_size
from fskd_jax.data import resident, sources
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.episodes import EpisodeSampler, Sampler, make_sampler
from fskd_jax.data.splits import (
  KeypointTypes,
  Splits,
  check_names,
  flip_permutation,
  keypoint_types,
  split_instances,
)
from fskd_jax.episode import EpisodeBatch

_materialize = jax.jit(resident.materialize, static_argnames="size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
  """A data set, split, ready to give episodes their pixels.

  Attributes:
    cfg: where it came from.
    dataset: the annotated images.
    splits: its instances by split.
    types: keypoint types of the experiment.
    store: decoded images on the devices for `resident`, None for `tfdata`. It is an
      argument of every step: captured as a constant it makes a step ten times slower.
  """

  cfg: DataConfig
  dataset: KeypointDataset
  splits: Splits
  types: KeypointTypes
  store: resident.ImageStore | None

  @classmethod
  def open(
    cls, cfg: DataConfig, place: Callable[[resident.ImageStore], resident.ImageStore]
  ) -> "Feed":
    """Loads, checks and splits the data set of a configuration.

    Args:
      cfg: which data set, and how it is split.
      place: copies decoded images to the devices, once for everybody.

    Raises:
      ValueError, FileNotFoundError: the data set or the names in `cfg` are wrong.
    """
    dataset = processes.main_first(lambda: sources.load_dataset(cfg))
    processes.check_same(
      lambda: run_facts.of_dataset(dataset), "give all the same data set"
    )
    check_names(cfg, dataset)
    types = keypoint_types(cfg, dataset.keypoint_names)
    parts = split_instances(dataset, cfg)
    store = None
    if cfg.executor == "resident":
      store = place(processes.together(lambda: resident.load_store(dataset)))
    return cls(cfg=cfg, dataset=dataset, types=types, splits=parts, store=store)

  def batches(
    self,
    sampler: Sampler,
    index_batches: Iterable[Sequence[int]],
    batch_size: int,
  ) -> contextlib.closing[Generator[EpisodeBatch, None, None]]:
    """Returns a stream of batches of NumPy arrays; short lists of indices are padded.

    To be left by `with`: threads that outlive an error can keep Python from ending.
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

    All processes call it, with the same batch.
    """
    if self.store is not None:
      batch = _materialize(self.store, batch, crop_size(self.cfg))
    support, query = (
      np.asarray(views.images).round().astype(np.uint8)
      for views in (batch.support, batch.query)
    )
    return support, query

  def training_sampler(self, cfg: TrainConfig) -> EpisodeSampler:
    """Returns the sampler of training: base and auxiliary types, random crops.

    Raises:
      ValueError: the split holds too little for an episode.
    """
    return self._sampler(
      self.splits.train,
      self.types.base,
      auxiliary=self.types.auxiliary,
      shots=cfg.shots,
      queries=cfg.queries,
      num_slots=len(self.types.base) + len(self.types.auxiliary.knots),
      permutation=self.permutation(),
      cfg=self.cfg,
      seed=cfg.seed,
      training=True,
    )

  def evaluation_sampler(self, setting: str, cfg: EvalConfig) -> EpisodeSampler:
    """Returns the sampler of a setting: the crops of the protocol.

    Args:
      setting: "<split>/<types>": split is unseen, seen, validation or all, the whole
        data set; types is base, novel or other (types of the vocabulary that are in
        neither list).
      cfg: shots, queries, seed and protocol.

    Raises:
      ValueError: the split or the list of types is empty, or holds too little for
        an episode; names the setting.
    """
    reason = self.why_empty(setting)
    if reason:
      raise ValueError(f"setting {setting!r}: {reason}")
    split, kind = setting.split("/")
    instances, types = self._instances_of(split), self._types_of(kind)
    # Where a list is shorter than the threshold, all of its types must be visible.
    thresholds = dataclasses.replace(
      self.cfg,
      min_support_types=min(self.cfg.min_support_types, len(types)),
      min_query_types=min(self.cfg.min_query_types, len(types)),
    )
    try:
      return self._sampler(
        instances,
        types,
        shots=cfg.shots,
        queries=cfg.queries,
        num_slots=max(len(self._types_of(k)) for k in ("base", "novel", "other")),
        permutation=self.permutation(),
        cfg=thresholds,
        seed=cfg.seed,
        training=False,
        protocol=cfg.protocol,
      )
    except ValueError as error:
      raise ValueError(f"setting {setting!r}: {error}") from error

  def why_empty(self, setting: str) -> str:
    """Returns why a setting holds nothing to score, or "" if it holds something."""
    split, kind = setting.split("/")
    instances, types = self._instances_of(split), self._types_of(kind)
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

  def _sampler(self, instances: Sequence[Instance], *args: Any, **options: Any):
    """Does `make_sampler`; where there is too little, says how much every split has."""
    try:
      return make_sampler(instances, *args, **options)
    except ValueError as error:
      images = ", ".join(
        f"{name} {len({instance.image for instance in part})}"
        for name, part in self.splits._asdict().items()
      )
      raise ValueError(f"{error}; images by split: {images}") from error

  def _instances_of(self, split: str) -> Sequence[Instance]:
    return self.dataset.instances if split == "all" else getattr(self.splits, split)

  def species(self, instance: np.ndarray) -> np.ndarray:
    """Returns the species names of `Views.instance`."""
    return np.vectorize(self._species_of.__getitem__, otypes=[object])(instance)

  def type_names(self, keypoint_ids: np.ndarray) -> list[str]:
    """Returns names for ids; auxiliary types are called by their ends."""
    names = self.dataset.keypoint_names
    ends, knots = self.types.auxiliary
    auxiliary = [f"{names[a]} ~ {names[b]} {t:g}" for (a, b), t in zip(ends, knots)]
    return [(*names, *auxiliary, "")[i] for i in keypoint_ids]

  def _types_of(self, kind: str) -> np.ndarray:
    if kind == "other":
      listed = np.concatenate([self.types.base, self.types.novel])
      return np.setdiff1d(np.arange(len(self.dataset.keypoint_names)), listed).astype(
        np.int32
      )
    return {"base": self.types.base, "novel": self.types.novel}[kind]

  @functools.cached_property
  def _species_of(self) -> dict[int, str]:
    return {found.instance_id: found.species for found in self.dataset.instances}

  def permutation(self) -> np.ndarray:
    """Returns `splits.flip_permutation` of the vocabulary."""
    return flip_permutation(self.dataset.keypoint_names, self.cfg.flip_pairs)
