"""Samples self-supervised episodes: one image, seen in several views.

Random points of the image are the keypoints. Support and queries are independent crops
of it, turned, zoomed, tilted and perhaps mirrored. Of the labels only the box counts.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from fskd_jax import geometry
from fskd_jax.config import DataConfig, TrainConfig, crop_size
from fskd_jax.data import augment
from fskd_jax.data.annotations import Instance
from fskd_jax.data.plans import InstanceTable
from fskd_jax.data.unlabelled import SMALLEST_WINDOW
from fskd_jax.episode import EpisodeBatch, Views

CANDIDATES = 4
"""Number of points drawn per slot, because views show only some of them."""

NEAR = 0.04, 0.2
"""Distances of hard negatives from their neighbours, as fractions of the longer side of
the region."""

ID_PERIOD = 2**20
"""Number of episodes after which the ids of random points repeat."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SelfSupervisedSampler:
  """Plans self-supervised episodes.

  Attributes:
    table: The objects to show, one row each.
    shots: The number of support views.
    queries: The number of query views.
    slots: The number of points of an episode.
    first_id: The first free id for points.
    cfg: The data set.
    seed: The seed of the stream.
  """

  table: InstanceTable
  shots: int
  queries: int
  slots: int
  first_id: int
  cfg: DataConfig
  seed: int

  def plan(self, index: int) -> EpisodeBatch:
    """Draws episode `index` of the stream.

    Returns:
      A plan: one episode, with image numbers in the place of pixels. Every point is in
      at least two views. No two episodes of `ID_PERIOD` share an id.
    """
    rng = np.random.default_rng([self.seed, index])
    row = int(rng.integers(len(self.table.image)))
    views = self.shots + self.queries
    image_size = self.table.image_size[row]
    region = self._region(row, rng)
    crops = self._crops(np.tile(region, (views, 1)), image_size, rng)
    points, visible = self._points(region, image_size, crops, rng)
    rows = np.full(views, row)
    found = Views(
      images=self.table.image[rows],
      keypoints=points,
      visible=visible,
      to_original=crops,
      box=self.table.box[rows],
      image_size=self.table.image_size[rows],
      instance=self.table.instance_id[rows],
    )
    ids = self.first_id + (index % ID_PERIOD) * self.slots + np.arange(self.slots)
    return EpisodeBatch(
      support=Views(*(field[: self.shots] for field in found)),
      query=Views(*(field[self.shots :] for field in found)),
      keypoint_ids=ids.astype(np.int32),
      is_auxiliary=np.zeros(self.slots, bool),
      episode_index=np.int32(index),
    )

  def _region(self, row: int, rng: np.random.Generator) -> Float[np.ndarray, "4"]:
    """Returns (x, y, w, h) of the region that the views show: the box, or a window."""
    if self.cfg.self_supervised.region == "box":
      return self.table.box[row]
    size = self.table.image_size[row]
    side = rng.uniform(SMALLEST_WINDOW, 1) * size.max()
    extent = np.minimum(side, size)
    return np.concatenate([rng.uniform(0, size - extent), extent])

  def _crops(
    self,
    regions: Float[np.ndarray, "t 4"],
    image_size: Float[np.ndarray, "2"],
    rng: np.random.Generator,
  ) -> Float[np.ndarray, "t 2 3"]:
    own = self.cfg.self_supervised
    changes = dataclasses.replace(
      self.cfg,
      crop="box",
      flip_probability=own.flip_probability,
      rotation_probability=1.0,
      rotation_degrees=own.rotation_degrees,
      tilt_degrees=own.tilt_degrees,
      scale_range=own.scale_range,
      shift=own.shift,
    )
    sizes = np.tile(image_size, (len(regions), 1))
    return augment.training_crops(regions, sizes, changes, rng)

  def _points(
    self,
    region: Float[np.ndarray, "4"],
    image_size: Float[np.ndarray, "2"],
    crops: Float[np.ndarray, "t 2 3"],
    rng: np.random.Generator,
  ) -> tuple[Float[np.ndarray, "t n 2"], Bool[np.ndarray, "t n"]]:
    """Draws points of the region that two views show, and maps them into the views.

    Hard negatives stand beside a point that is drawn freely: views can only tell the
    two apart by their surroundings.
    """
    count = CANDIDATES * self.slots
    corner, extent = region[:2], region[2:]
    points = corner + rng.random((count, 2)) * (extent - 1)
    hard = rng.random(count) < self.cfg.self_supervised.hard_negatives
    hard[0] = False
    free = np.maximum.accumulate(np.where(hard, 0, np.arange(count)))
    beside = points[free]  # the point drawn freely before
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = rng.uniform(*NEAR, count) * extent.max()
    beside = beside + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    inside = ((beside >= 0) & (beside <= image_size - 1)).all(-1)
    points = np.where((hard & inside)[:, None], beside, points)

    to_crop = geometry.invert_affine(crops.astype(np.float64))
    moved = geometry.apply_affine(to_crop, np.tile(points, (len(crops), 1, 1)))
    size = np.array(crop_size(self.cfg)[::-1])
    visible = ((moved >= -0.5) & (moved < size - 0.5)).all(-1)
    # Points that can be asked for and found come first, in the order of drawing.
    order = np.argsort(visible.sum(0) < 2, kind="stable")[: self.slots]
    moved, visible = moved[:, order], visible[:, order] & (visible[:, order].sum(0) > 1)
    points = np.where(visible[..., None], moved, np.clip(moved, 0, size - 1))
    return points.astype(np.float32), visible


def make_sampler(
  instances: Sequence[Instance], cfg: DataConfig, train: TrainConfig, first_id: int
) -> SelfSupervisedSampler:
  """Returns the sampler of objects of a split; they need no keypoints.

  Args:
    instances: The objects, at least one.
    cfg: The data set, with its `slots`.
    train: Shots, queries and seed.
    first_id: The first number that is not the id of a keypoint type.
  """
  return SelfSupervisedSampler(
    table=InstanceTable.of(instances),
    shots=train.shots,
    queries=train.queries,
    slots=cfg.slots,
    first_id=first_id,
    cfg=cfg,
    seed=train.seed,
  )
