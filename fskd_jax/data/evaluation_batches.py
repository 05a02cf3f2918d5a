"""Runs through the fixed episodes of an evaluation, with a progress bar."""

import contextlib
from collections.abc import Iterator

from tqdm import tqdm

from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler, evaluation_index_batches
from fskd_jax.device import parallel, preemption
from fskd_jax.episode import PADDING, EpisodeBatch


@contextlib.contextmanager
def evaluation_batches(
  feed: Feed,
  sampler: Sampler,
  episodes: int,
  batch_episodes: int,
  *,
  label: str = "",
  unit: str = "ep",
) -> Iterator[Iterator[EpisodeBatch]]:
  """Provides the episodes 0 .. episodes - 1 of a sampler, batch by batch.

  Args:
    feed: The data set.
    sampler: The sampler of a setting.
    episodes: Number of episodes.
    batch_episodes: Number of episodes at a time over all devices, rounded up to one
      that they divide.
    label: Label of the progress bar, which is shown only with a label.
    unit: Name of an episode in the progress bar.

  Raises:
    Interrupted: From the batches: a signal asked a training to end.
  """
  size = parallel.divisible_batch(batch_episodes)
  indices = evaluation_index_batches(episodes, size, 0, 1)
  hidden = not (parallel.is_main_process() and label)

  def counted(batches, bar):
    for batch in batches:
      preemption.leave_if_requested()
      yield batch
      bar.update(int((batch.episode_index != PADDING).sum()))

  with (
    feed.batches(sampler, indices, size) as batches,
    tqdm(total=episodes, desc=label, unit=unit, disable=hidden) as bar,
  ):
    yield counted(batches, bar)
