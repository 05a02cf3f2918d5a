"""Chooses what episodes are drawn from: the instances, types and slots of a sampler."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from fskd_jax.config import DataConfig, EvalConfig, TrainConfig
from fskd_jax.data.annotations import Instance
from fskd_jax.data.feed import Feed
from fskd_jax.data.keypoint_types import AuxiliaryTypes
from fskd_jax.data.plans import InstanceTable
from fskd_jax.episode import PADDING
from fskd_jax.few_shot.sampler import EpisodeSampler


def training_sampler(feed: Feed, cfg: TrainConfig) -> EpisodeSampler:
  """Returns the sampler of labelled episodes: base and auxiliary types, random crops.

  `mixing.training_sampler` adds what `data.slots` and `data.mixture` ask for.

  Raises:
    ValueError: The split holds too little for an episode.
  """
  return _sampler_of(
    feed,
    feed.splits.train,
    feed.types.base,
    auxiliary=feed.types.auxiliary,
    shots=cfg.shots,
    queries=cfg.queries,
    num_slots=len(feed.types.base) + len(feed.types.auxiliary.knots),
    permutation=feed.permutation(),
    cfg=feed.cfg,
    seed=cfg.seed,
    training=True,
  )


def evaluation_sampler(feed: Feed, setting: str, cfg: EvalConfig) -> EpisodeSampler:
  """Returns the sampler of a setting, with the crops of the protocol.

  Args:
    feed: The data set.
    setting: "<split>/<types>": split is unseen, seen, validation or all (the whole data
      set); types is base, novel or other (types of the vocabulary in neither list). A
      final "@<source>" names a source of a mixture.
    cfg: The shots, queries, seed and protocol.

  Raises:
    ValueError: The split or the list of types is empty, or holds too little for an
      episode. The message names the setting.
  """
  reason = feed.why_empty(setting)
  if reason:
    raise ValueError(f"setting {setting!r}: {reason}")
  if "@" in setting:
    return _evaluation_sampler_of_source(feed, setting, cfg)
  split, kind = setting.split("/")
  types = feed.types_of(kind)
  # If a list is shorter than the threshold, all of its types must be visible.
  thresholds = dataclasses.replace(
    feed.cfg,
    min_support_types=min(feed.cfg.min_support_types, len(types)),
    min_query_types=min(feed.cfg.min_query_types, len(types)),
  )
  try:
    return _sampler_of(
      feed,
      feed.instances(split),
      types,
      shots=cfg.shots,
      queries=cfg.queries,
      num_slots=_evaluation_slots(feed),
      permutation=feed.permutation(),
      cfg=thresholds,
      seed=cfg.seed,
      training=False,
      protocol=cfg.protocol,
    )
  except ValueError as error:
    raise ValueError(f"setting {setting!r}: {error}") from error


def _evaluation_sampler_of_source(
  feed: Feed, setting: str, cfg: EvalConfig
) -> EpisodeSampler:
  """Returns the sampler of a setting of one source, with the ids of the mixture.

  All sources have the same number of slots, so that steps are compiled once.
  """
  name = setting.partition("@")[2]
  part, own_setting = feed.part(setting)
  try:
    found = evaluation_sampler(part, own_setting, cfg).numbered(feed.sources[name].ids)
  except ValueError as error:
    raise ValueError(f"source {name!r} of data.mixture: {error}") from error
  slots = max(_evaluation_slots(source.feed) for source in feed.sources.values())
  missing = np.full(slots - len(found.keypoint_ids), PADDING, np.int32)
  ids = np.concatenate([found.keypoint_ids, missing])
  return dataclasses.replace(found, keypoint_ids=ids)


def _evaluation_slots(feed: Feed) -> int:
  return max(len(feed.types_of(kind)) for kind in ("base", "novel", "other"))


def checked_sampler(feed: Feed, setting: str, cfg: EvalConfig) -> EpisodeSampler:
  """Returns `evaluation_sampler` after planning one episode as a check.

  Raises:
    ValueError: `evaluation_sampler` raises it, or no episode can be planned.
  """
  sampler = evaluation_sampler(feed, setting, cfg)
  try:
    sampler.plan(0)
  except ValueError as error:
    raise ValueError(f"setting {setting!r}: {error}") from error
  return sampler


def make_sampler(
  instances: Sequence[Instance],
  types: Int32[np.ndarray, " n"],
  *,
  auxiliary: AuxiliaryTypes | None = None,
  shots: int,
  queries: int,
  num_slots: int,
  permutation: Int32[np.ndarray, " v"],
  cfg: DataConfig,
  seed: int,
  training: bool,
  protocol: str = "ours",
) -> EpisodeSampler:
  """Prepares the pools of a stream of episodes.

  Args:
    instances: The instances of the split.
    types: The episode's keypoint types, as indices of the vocabulary.
    auxiliary: The interpolated types between members of `types`.
    shots: The number of support images per episode.
    queries: The number of query images per episode.
    num_slots: The number of keypoint slots of the plans; unused slots are padding.
    permutation: The mirror image of each type, by `keypoint_types.flip_permutation`.
    cfg: The thresholds and crops; valid, see `config.validate`.
    seed: The seed of the stream.
    training: Whether to draw random crops instead of evaluation crops.
    protocol: The protocol of the evaluation crops, see `EvalConfig`.

  Raises:
    ValueError: No episode can meet the thresholds, or there are too few slots or
      images.
  """
  if auxiliary is None:
    auxiliary = AuxiliaryTypes(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))
  if len(types) < max(cfg.min_support_types, cfg.min_query_types, 1):
    raise ValueError(
      f"an episode has {len(types)} keypoint types, but data.min_support_types="
      f"{cfg.min_support_types} and data.min_query_types={cfg.min_query_types}"
    )
  if num_slots < len(types) + len(auxiliary.knots):
    raise ValueError(
      f"{num_slots} keypoint slots do not hold {len(types)} types and "
      f"{len(auxiliary.knots)} auxiliary types"
    )
  asked = (shots, queries, "train" if training else "eval")
  pools, weights = _pools(instances, types, asked, cfg)
  used = [*types, *(len(permutation) + np.arange(len(auxiliary.knots)))]
  padding = [PADDING] * (num_slots - len(used))
  return EpisodeSampler(
    table=InstanceTable.of(instances),
    pools=tuple(pools),
    pool_edges=np.cumsum(weights)[:-1] / np.sum(weights),
    types=types,
    auxiliary=auxiliary,
    keypoint_ids=np.array(used + padding, np.int32),
    permutation=permutation,
    shots=shots,
    queries=queries,
    cfg=cfg,
    seed=seed,
    training=training,
    protocol=protocol,
  )


def _pools(
  instances: Sequence[Instance],
  types: Int32[np.ndarray, " n"],
  asked: tuple[int, int, str],
  cfg: DataConfig,
) -> tuple[list[Int[np.ndarray, " i"]], list[int]]:
  """Returns the rows of every pool that can fill an episode, and the pool's weight.

  `asked` holds the numbers of shots and queries, and their section of the config.
  """
  num_images = asked[0] + asked[1]
  rows: dict[str, list[int]] = collections.defaultdict(list)
  totals: collections.Counter[str] = collections.Counter()
  for row, instance in enumerate(instances):
    name = _pool_name(instance, cfg.class_mode)
    totals[name] += 1
    if instance.visible[types].any():
      rows[name].append(row)
  images = {name: len({instances[r].image for r in rows[name]}) for name in totals}
  names = sorted(name for name in totals if images[name] >= num_images)
  if not names:
    largest = sorted(totals, key=lambda name: -images[name])[:5]
    found = [f"{name} {images[name]} ({len(rows[name])} instances)" for name in largest]
    raise ValueError(
      f"no species has the {num_images} different images of an episode: "
      f"{_remedy(max(images.values()), *asked)}; the most "
      f"images with one of its {len(types)} keypoint types: {', '.join(found)}; "
      f"{len(instances)} instances of {len(totals)} species in all"
    )
  counted = cfg.class_weighting == "count"
  weights = [totals[name] if counted else 1 for name in names]
  return [np.array(rows[name]) for name in names], weights


def _pool_name(instance: Instance, class_mode: str) -> str:
  if class_mode == "one_group":
    return f"{instance.species} in {instance.group}"
  return instance.species if class_mode == "one_class" else "all species"


def _sampler_of(
  feed: Feed, instances: Sequence[Instance], *args: Any, **options: Any
) -> EpisodeSampler:
  """Runs `make_sampler`; its errors get the number of images of every split."""
  try:
    return make_sampler(instances, *args, **options)
  except ValueError as error:
    images = ", ".join(
      f"{name} {len({instance.image for instance in part})}"
      for name, part in feed.splits._asdict().items()
    )
    raise ValueError(f"{error}; images by split: {images}") from error


def _remedy(most: int, shots: int, queries: int, section: str) -> str:
  """Returns advice to make an episode fit into a pool of `most` images."""
  if most > shots:
    return f"set {section}.queries = {most - shots} or less"
  if most > 1:
    return f"set {section}.shots = 1 and {section}.queries = {most - 1} or less"
  return (
    f"{section}.shots = {shots} and {section}.queries = {queries} need more labelled "
    "images, or data.class_mode = 'mix_class'"
  )
