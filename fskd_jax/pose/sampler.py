"""Plans the crops of persons: from an index to the plan of one person.

A person is an episode without support and with one query, so that everything after
the sampler (stacking, padding, both executors) is shared with few-shot episodes.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Int32

from fskd_jax.config import DataConfig, PoseConfig, crop_size
from fskd_jax.data import augment
from fskd_jax.data.annotations import Instance
from fskd_jax.data.keypoint_types import keypoint_ids
from fskd_jax.data.plans import InstanceTable
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.pose import crops


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PoseSampler:
  """Plans persons; `make_sampler` creates it and describes its other arguments.

  Attributes:
    table: The persons.
    lower: bool [n], whether each of `types` belongs to the lower body.
  """

  table: InstanceTable
  types: Int32[np.ndarray, " n"]
  lower: Bool[np.ndarray, " n"]
  permutation: Int32[np.ndarray, " v"]
  cfg: DataConfig
  pose: PoseConfig
  seed: int
  training: bool

  def __len__(self) -> int:
    """Returns the number of persons."""
    return len(self.table.image)

  def plan(self, index: int) -> EpisodeBatch:
    """Plans person `index` of the stream, a function of seed and index alone.

    In training, every person occurs once in `len(self)` indices, in an order that is
    drawn anew for each epoch. Otherwise person i has index i.

    Returns:
      A plan with no support and one query, whose pixels are replaced by the number of
      its image.
    """
    epoch, place = divmod(index, len(self))
    row, size = place, crop_size(self.cfg)
    if self.training:
      row = _order(self.seed, epoch, len(self))[place]
    rows = slice(row, row + 1)
    keypoints, visible = self.table.keypoints[rows], self.table.visible[rows]
    if self.training:
      to_original = crops.training_crop(
        self.table.box[row],
        keypoints[0, self.types],
        visible[0, self.types],
        self.lower,
        size,
        cfg=self.pose,
        flip_probability=self.cfg.flip_probability,
        rng=np.random.default_rng([self.seed, index]),
      )[None]
    else:
      to_original = crops.evaluation_crop(self.table.box[row], size)[None]
    moved, seen = augment.place_keypoints(
      keypoints, visible, to_original, self.permutation, size
    )
    query = Views(
      images=self.table.image[rows],
      keypoints=moved[:, self.types],
      visible=seen[:, self.types],
      to_original=to_original,
      box=self.table.box[rows],
      image_size=self.table.image_size[rows],
      instance=self.table.instance_id[rows],
    )
    return EpisodeBatch(
      support=Views(*(field[:0] for field in query)),
      query=query,
      keypoint_ids=self.types,
      is_auxiliary=np.zeros(len(self.types), bool),
      episode_index=np.int32(index),
    )


def make_sampler(
  persons: Sequence[Instance],
  types: Int32[np.ndarray, " n"],
  *,
  permutation: Int32[np.ndarray, " v"],
  vocabulary: Sequence[str],
  cfg: DataConfig,
  pose: PoseConfig,
  seed: int,
  training: bool,
) -> PoseSampler:
  """Prepares a stream of persons.

  Args:
    persons: The persons of the split. In training, only those that show one of `types`
      are used.
    types: The keypoint types, as indices of the vocabulary.
    permutation: The mirror image of each type, by `keypoint_types.flip_permutation`.
    vocabulary: The keypoint names of the data set.
    cfg: The size of the crops.
    pose: The augmentation.
    seed: The seed of the stream.
    training: Whether to give random crops in random order instead of evaluation crops
      in order.

  Raises:
    ValueError: There is no person, or a name in `pose.lower_body` is unknown.
  """
  used = [i for i in persons if not training or i.visible[types].any()]
  if not used:
    raise ValueError(
      f"no person to work on: {len(persons)} instances, none of which shows one of the "
      f"{len(types)} keypoint types in data.base"
    )
  return PoseSampler(
    table=InstanceTable.of(used),
    types=types,
    lower=np.isin(types, keypoint_ids(pose.lower_body, vocabulary)),
    permutation=permutation,
    cfg=cfg,
    pose=pose,
    seed=seed,
    training=training,
  )


def flip_partners(
  types: Int32[np.ndarray, " n"],
  permutation: Int32[np.ndarray, " v"],
  vocabulary: Sequence[str],
) -> Int32[np.ndarray, " n"]:
  """Returns the channel that holds the mirror image of each channel's type.

  Args:
    types: The type of each channel, as an index of the vocabulary.
    permutation: The mirror image of each type, by `keypoint_types.flip_permutation`.
    vocabulary: The keypoint names of the data set.

  Raises:
    ValueError: The mirror image of a type has no channel.
  """
  channel = {number: i for i, number in enumerate(types.tolist())}
  partners = permutation[types].tolist()
  missing = [vocabulary[number] for number in partners if number not in channel]
  if missing:
    raise ValueError(
      f"data.base lacks {missing}, the mirror images of types in it: add them, or set "
      "data.flip_pairs or pose.flip_test=False"
    )
  return np.array([channel[number] for number in partners], np.int32)


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> Int[np.ndarray, " p"]:
  # The third number separates this stream from those of the crops.
  return np.random.default_rng([seed, epoch, 1]).permutation(count)
