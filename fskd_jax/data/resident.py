"""Resident executor: the decoded data set stays in memory, and the device warps.

It is for data sets that fit: only plans cross from the host to the device. Its batches
equal those of `pipeline` up to rounding.
"""

import collections
import concurrent.futures
import itertools
from collections.abc import Generator, Iterable, Sequence

import numpy as np
import tqdm

from fskd_jax.data import images
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.plans import Sampler, plan_batch
from fskd_jax.device.store import NUM_LEVELS, ImageStore, empty_store, fill
from fskd_jax.episode import EpisodeBatch

PREFETCH = 4
"""Number of plan batches made ahead."""


def load_store(
  dataset: KeypointDataset, image_numbers: Iterable[int] | None = None
) -> ImageStore:
  """Decodes images (default: all) into an `ImageStore` of NumPy arrays.

  The store takes 4 bytes per pixel. Move it to the device with `jax.device_put`.

  Raises:
    FileNotFoundError, ValueError: An image is missing or broken.
    ValueError: There are more than 2**31 pixels.
  """
  numbers = range(len(dataset.image_names)) if image_numbers is None else image_numbers
  numbers = sorted(set(numbers))
  whole = {instance.image: instance.image_size for instance in dataset.instances}
  sizes = np.zeros((len(dataset.image_names), NUM_LEVELS, 2), np.int64)
  for number in numbers:
    for level in range(NUM_LEVELS):
      sizes[number, level] = -(-np.array(whole[number]) // 2**level)
  count = sizes.prod(axis=-1).sum()
  if count >= 2**31:
    raise ValueError(
      f"{dataset.name} has {count:,} pixels with its reductions; "
      f"the resident executor addresses {2**31:,} at most: use data.executor=tfdata"
    )
  store = empty_store(sizes)

  def load(number: int) -> None:
    data, name = dataset.read_image(number), dataset.image_names[number]
    for level in range(NUM_LEVELS):
      fill(store, number, level, images.decode(data, name, level))

  with concurrent.futures.ThreadPoolExecutor() as pool:
    loaded = pool.map(load, numbers)
    for _ in tqdm.tqdm(loaded, f"loading {dataset.name}", len(numbers), disable=None):
      pass
  return store


def episode_batches(
  sampler: Sampler, index_batches: Iterable[Sequence[int]], batch_size: int
) -> Generator[EpisodeBatch, None, None]:
  """Yields plans for `materialize`, made ahead by a background thread.

  Args:
    sampler: The sampler of the episodes.
    index_batches: The episode indices of this host, see `plans`.
    batch_size: The number of episodes of this host; shorter batches are padded.
  """
  with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
    plans = (pool.submit(plan_batch, sampler, i, batch_size) for i in index_batches)
    ahead = collections.deque(itertools.islice(plans, PREFETCH))
    while ahead:
      batch = ahead.popleft().result()
      ahead.extend(itertools.islice(plans, 1))
      yield batch
