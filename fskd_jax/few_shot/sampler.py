"""Plans few-shot episodes: draws their images, crops and keypoint types."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from fskd_jax.config import DataConfig, EvalConfig, TrainConfig, crop_size
from fskd_jax.data import augment
from fskd_jax.data.annotations import Instance
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import InstanceTable
from fskd_jax.data.splits import AuxiliaryTypes
from fskd_jax.episode import PADDING, EpisodeBatch, Views

MAX_DRAWS = 1000
"""Number of rejected draws of an episode after which the sampler gives up."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeSampler:
  """Plans episodes; `make_sampler` creates it and describes its other arguments.

  Attributes:
    table: The instances.
    pools: Rows of the table that an episode may be drawn from, one array per species
      (a single one for `mix_class`, one per group for `one_group`).
    pool_edges: The cumulative probability of the pools, without the last.
    keypoint_ids: The ids of the types, see `EpisodeBatch`.
  """

  table: InstanceTable
  pools: tuple[Int[np.ndarray, " i"], ...]
  pool_edges: Float64[np.ndarray, " p"]
  types: Int32[np.ndarray, " n"]
  auxiliary: AuxiliaryTypes
  keypoint_ids: Int32[np.ndarray, " n"]
  permutation: Int32[np.ndarray, " v"]
  shots: int
  queries: int
  cfg: DataConfig
  seed: int
  training: bool
  protocol: str

  def plan(self, index: int) -> EpisodeBatch:
    """Draws episode `index` of the stream until a draw is accepted.

    The thresholds apply to the masks of the plan, after cropping.

    Returns:
      A plan: one episode, with image numbers in the place of pixels.

    Raises:
      ValueError: `MAX_DRAWS` draws were rejected. The message names the thresholds.

    Source: docs/algorithm.md#episodes; all images of an episode differ here.
    """
    rng = np.random.default_rng([self.seed, index])
    rejections: collections.Counter[str] = collections.Counter()
    for _ in range(MAX_DRAWS):
      rows = self._draw_rows(rng)
      # Checked before cropping as in the original, which saves most of the work, and
      # again after it, because cropping removes keypoints.
      rejection = self._rejection(self.table.visible[rows][:, self.types])
      if not rejection:
        views = self._crop(rows, rng)
        rejection = self._rejection(views.visible[:, : len(self.types)])
        if not rejection:
          return EpisodeBatch(
            support=Views(*(field[: self.shots] for field in views)),
            query=Views(*(field[self.shots :] for field in views)),
            keypoint_ids=self.keypoint_ids,
            is_auxiliary=self._is_auxiliary(),
            episode_index=np.int32(index),
          )
      rejections[rejection] += 1
    reasons = ", ".join(f"{count} by {name}" for name, count in rejections.items())
    raise ValueError(
      f"episode {index}: {MAX_DRAWS} draws were rejected, {reasons}; with "
      f"{len(self.types)} types, {self.shots} support and {self.queries} query images "
      f"from pools of {sorted(map(len, self.pools))[-5:]} instances (the largest five)"
    )

  def numbered(self, ids: Int32[np.ndarray, " v"]) -> "EpisodeSampler":
    """Returns the sampler with other ids in its plans, such as those of a mixture.

    Args:
      ids: The new id of every type of the vocabulary, and of the auxiliary ones.
    """
    held = self.keypoint_ids != PADDING
    numbers = np.where(held, ids[self.keypoint_ids], PADDING).astype(np.int32)
    return dataclasses.replace(self, keypoint_ids=numbers)

  def _is_auxiliary(self) -> Bool[np.ndarray, " n"]:
    slot, first = np.arange(len(self.keypoint_ids)), len(self.types)
    return (slot >= first) & (slot < first + len(self.auxiliary.knots))

  def _draw_rows(self, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    """Draws a pool, then instances one by one, skipping images already used."""
    pool = self.pools[np.searchsorted(self.pool_edges, rng.random(), side="right")]
    num_images = self.shots + self.queries
    row_of_image: dict[int, int] = {}
    while len(row_of_image) < num_images:
      rows = pool[rng.integers(len(pool), size=num_images)]
      for image, row in zip(self.table.image[rows].tolist(), rows.tolist()):
        row_of_image.setdefault(image, row)
    return np.array(list(row_of_image.values())[:num_images])

  def _rejection(self, visible: Bool[np.ndarray, "t n"]) -> str:
    """Returns the name of the threshold that the main types do not meet, or ""."""
    cfg = self.cfg
    in_support = visible[: self.shots].any(axis=0)
    if in_support.sum() < cfg.min_support_types:
      return f"min_support_types={cfg.min_support_types}"
    num_types = (visible[self.shots :] & in_support).sum(axis=1)
    num_good = (num_types >= cfg.min_query_types).sum()
    too_few = num_good < cfg.min_query_fraction * self.queries - 1e-9
    # Thresholds of 0 reject nothing and leave the probabilities as they are.
    if too_few or (cfg.min_query_types and not num_types.any()):
      return (
        f"min_query_types={cfg.min_query_types} in "
        f"min_query_fraction={cfg.min_query_fraction} of the queries"
      )
    return ""

  def _crop(self, rows: Int[np.ndarray, " t"], rng: np.random.Generator) -> Views:
    """Returns views of rows, with the main types first, then the auxiliary ones."""
    boxes, sizes = self.table.box[rows], self.table.image_size[rows]
    if self.training:
      to_original = augment.training_crops(boxes, sizes, self.cfg, rng)
    elif self.protocol == "reference":
      to_original = augment.reference_crops(boxes, sizes, self.cfg, rng)
    else:
      to_original = augment.evaluation_crops(boxes, self.cfg)
    moved, seen = augment.place_keypoints(
      self.table.keypoints[rows],
      self.table.visible[rows],
      to_original,
      self.permutation,
      crop_size(self.cfg),
    )
    starts, ends = self.auxiliary.ends.T
    knots = self.auxiliary.knots[:, None]
    between = (1 - knots) * moved[:, starts] + knots * moved[:, ends]
    empty = len(self.keypoint_ids) - len(self.types) - len(knots)
    keypoints = [moved[:, self.types], between, np.zeros((len(rows), empty, 2))]
    visible = [
      seen[:, self.types],
      seen[:, starts] & seen[:, ends],
      np.zeros((len(rows), empty), bool),
    ]
    return Views(
      images=self.table.image[rows],
      keypoints=np.concatenate(keypoints, axis=1, dtype=np.float32),
      visible=np.concatenate(visible, axis=1),
      to_original=to_original,
      box=boxes,
      image_size=sizes,
      instance=self.table.instance_id[rows],
    )


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
    permutation: The mirror image of each type, by `splits.flip_permutation`.
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
