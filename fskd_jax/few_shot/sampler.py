"""Plans few-shot episodes: draws their images, crops and keypoint types."""

import collections
import dataclasses

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from fskd_jax.config import DataConfig, crop_size
from fskd_jax.data import augment
from fskd_jax.data.keypoint_types import AuxiliaryTypes
from fskd_jax.data.plans import InstanceTable
from fskd_jax.episode import PADDING, EpisodeBatch, Views

MAX_DRAWS = 1000
"""Number of rejected draws of an episode after which the sampler gives up."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeSampler:
  """Plans episodes; `pools.make_sampler` creates it and describes its other arguments.

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
