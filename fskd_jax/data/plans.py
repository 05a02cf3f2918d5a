"""Plans of episodes: functions of the episode index, in pure NumPy.

A plan depends only on the seed and the index, so that any step can be replayed, resumed
and divided among hosts.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from fskd_jax.config import DataConfig
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import EpisodeBatch, blank, stack


class Sampler(Protocol):
  """The interface of a sampler that executors use."""

  @property
  def cfg(self) -> DataConfig:
    """The configuration with the size of the crops."""
    ...

  def plan(self, index: int) -> EpisodeBatch:
    """Plans the episode with this index; a pure function of the index."""
    ...


class InstanceTable(NamedTuple):
  """Instances as arrays, one row each."""

  instance_id: Int64[np.ndarray, " i"]
  image: Int32[np.ndarray, " i"]
  image_size: Float32[np.ndarray, "i 2"]
  box: Float32[np.ndarray, "i 4"]
  keypoints: Float32[np.ndarray, "i v 2"]
  visible: Bool[np.ndarray, "i v"]

  @classmethod
  def of(cls, instances: Sequence[Instance]) -> "InstanceTable":
    """Stacks instances, at least one."""
    return cls(
      instance_id=np.array([i.instance_id for i in instances], np.int64),
      image=np.array([i.image for i in instances], np.int32),
      image_size=np.array([i.image_size for i in instances], np.float32),
      box=np.array([i.box for i in instances], np.float32),
      keypoints=np.stack([i.keypoints for i in instances]).astype(np.float32),
      visible=np.stack([i.visible for i in instances]),
    )


def plan_batch(
  sampler: Sampler, indices: Sequence[int], batch_size: int
) -> EpisodeBatch:
  """Plans and stacks episodes, padded to `batch_size`; `indices` may be empty."""
  plans = [sampler.plan(index) for index in indices]
  return stack(plans or [blank(sampler.plan(0))], batch_size)


@dataclasses.dataclass(frozen=True)
class TrainingIndices(Sequence[range]):
  """Indices of the episodes of a host, step by step and without end.

  Attributes:
    first: The first episode.
    stride: The episodes of a step, over all hosts.
    part: Those of this host.
  """

  first: int
  stride: int
  part: int

  def __getitem__(self, step: int) -> range:  # pyright: ignore
    first = self.first + step * self.stride
    return range(first, first + self.part)

  def __len__(self) -> int:
    return sys.maxsize


def train_index_batches(
  first_step: int, episodes_per_step: int, host: int, num_hosts: int
) -> TrainingIndices:
  """Returns this host's episode indices of every step from `first_step` on, for ever.

  Step s has the episodes s * B .. s * B + B - 1; hosts take contiguous parts.

  Raises:
    ValueError: The episodes of a step do not divide among the hosts.
  """
  part = _part(episodes_per_step, num_hosts)
  first = first_step * episodes_per_step + host * part
  return TrainingIndices(first, episodes_per_step, part)


def evaluation_index_batches(
  num_episodes: int, batch_size: int, host: int, num_hosts: int
) -> Iterator[Sequence[int]]:
  """Returns this host's part of the episodes 0 .. num_episodes - 1, batch by batch.

  `batch_size` counts the episodes of all hosts together. Every host gets the same
  number of batches; the last ones may be short or empty.

  Raises:
    ValueError: The episodes of a batch do not divide among the hosts.
  """
  part = _part(batch_size, num_hosts)
  firsts = range(host * part, num_episodes + host * part, batch_size)
  return (range(first, min(first + part, num_episodes)) for first in firsts)


def _part(batch_size: int, num_hosts: int) -> int:
  if batch_size < 1 or batch_size % num_hosts:
    raise ValueError(f"{batch_size} episodes do not divide among {num_hosts} hosts")
  return batch_size // num_hosts
