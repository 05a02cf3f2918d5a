"""Grain executor: worker processes read, decode and warp images, without TensorFlow.

Its batches equal those of `pipeline` bit for bit. Batch i of a stream depends on i
alone, so Grain hands batches to its processes in turns, and the order does not depend
on their number.
"""

import dataclasses
import multiprocessing
import multiprocessing.connection
import operator
import os
import signal
import threading
from collections.abc import Generator, Iterable, Sequence
from typing import Any, SupportsIndex

import grain
import numpy as np
from absl import flags

from fskd_jax import geometry
from fskd_jax.config import crop_size
from fskd_jax.data import images
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.plans import Sampler, TrainingIndices, plan_batch
from fskd_jax.data.warp import warp
from fskd_jax.episode import EpisodeBatch, Views

MOST_WORKERS = 16
"""Without `data.workers`; every process imports JAX and holds the labels."""

PREFETCH = 2
"""Number of batches that each thread or process makes ahead."""


@dataclasses.dataclass(frozen=True)
class EpisodeSource:
  """The batches of a stream by their places: Grain's `RandomAccessDataSource`.

  Attributes:
    dataset: The images that the sampler's plans refer to.
    sampler: The sampler of the episodes; its configuration has the size (h, w).
    index_batches: The episode indices of each batch.
    batch_size: The number of episodes in a batch; shorter lists are padded.
  """

  dataset: KeypointDataset
  sampler: Sampler
  index_batches: Sequence[Sequence[int]]
  batch_size: int

  def __len__(self) -> int:
    return len(self.index_batches)

  def __getitem__(self, index: SupportsIndex) -> EpisodeBatch:
    """Returns a batch with uint8 images [b t h w 3].

    Raises:
      ValueError, FileNotFoundError: An image is broken or missing, or an episode cannot
        be drawn; the message names it.
    """
    indices = self.index_batches[operator.index(index)]
    batch = plan_batch(self.sampler, indices, self.batch_size)
    return batch._replace(
      support=self._with_pixels(batch.support), query=self._with_pixels(batch.query)
    )

  def _with_pixels(self, views: Views) -> Views:
    size = crop_size(self.sampler.cfg)
    shape = views.images.shape
    pixels = np.zeros((*shape, *size, 3), np.uint8)
    level = geometry.reduction_level(views.to_original)
    matrix = geometry.to_level(views.to_original, level).astype(np.float32)
    for at in np.ndindex(*shape):
      number = int(views.images[at])
      data, name = self.dataset.read_image(number), self.dataset.image_names[number]
      image = images.decode(data, name, int(level[at]))
      pixels[at] = warp(image, matrix[at], size)
    return views._replace(images=pixels)


def episode_batches(
  dataset: KeypointDataset,
  sampler: Sampler,
  index_batches: Iterable[Sequence[int]],
  batch_size: int,
  workers: int = 0,
) -> Generator[EpisodeBatch, None, None]:
  """Yields batches of NumPy arrays with uint8 images [b t h w 3].

  Args:
    dataset: The images that the sampler's plans refer to.
    sampler: The sampler of the episodes; its configuration has the size (h, w).
    index_batches: The episode indices of this host, see `plans`. The endless ones of
      training are divided among processes, others among threads of this process, since
      a process takes seconds to start.
    batch_size: The number of episodes of this host; shorter batches are padded.
    workers: The number of processes; 0: one for each core, `MOST_WORKERS` at most.

  Raises:
    ValueError, FileNotFoundError: As `EpisodeSource`.
  """
  _let_grain_read_its_flags()
  cores = len(os.sched_getaffinity(0))
  is_endless = isinstance(index_batches, TrainingIndices)
  indices = index_batches if is_endless else [*index_batches]
  source = EpisodeSource(dataset, sampler, indices, batch_size)
  threads = 1 if is_endless else cores
  batches: Any = grain.MapDataset.source(source).to_iter_dataset(
    grain.ReadOptions(num_threads=threads, prefetch_buffer_size=PREFETCH * threads)
  )
  if is_endless:
    count = workers or min(cores, MOST_WORKERS)
    batches = batches.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=count, per_worker_buffer_size=PREFETCH),
      _begin_worker,
    )
  stream = iter(batches)
  try:
    for place in range(len(source)):
      try:
        batch = next(stream)
      except Exception:
        source[place]  # a worker's error, raised again where it is understood
        raise
      yield batch
  finally:
    stream.close()


def _begin_worker(number: int, count: int) -> None:
  """Leaves signals to the training, and ends with it, however that ended."""
  del number, count
  for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # sent to all processes of a job
    signal.signal(getattr(signal, name), signal.SIG_IGN)
  parent: Any = multiprocessing.parent_process()

  def follow() -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=follow, daemon=True).start()


def _let_grain_read_its_flags() -> None:
  """Gives Grain's flags of absl their defaults in a program that has parsed none."""
  if not flags.FLAGS.is_parsed():
    for name in flags.FLAGS:
      if name.startswith("grain_"):
        flags.FLAGS[name].present = 1
