"""Keeps what a baseline predicted, in a file, for the next evaluation of a run."""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fskd_jax.config import Config
from fskd_jax.data import fingerprint
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import EpisodeBatch
from fskd_jax.files import write_arrays

FILE = "baselines.npz"
"""Name of the file, beside results.json."""


class Remembered:
  """A baseline that predicts a batch once, and has it from a file afterwards.

  What is kept is found by a hash of all that it follows from: the episodes and pixels
  of the batch, the pixels in a store, weights, configuration, code and devices.
  """

  def __init__(
    self,
    path: pathlib.Path,
    predict: Callable[[EpisodeBatch], np.ndarray],
    cfg: Config,
    feed: Feed,
    variables: Mapping[str, Any],
  ):
    """Reads the file; one that is missing, damaged or another's holds nothing.

    Several processes read nothing, because all of them must run the same batches.

    Args:
      path: The file.
      predict: The baseline, keypoints [b m n 2] of a batch.
      cfg: Configuration of the baseline.
      feed: The data set.
      variables: Variables of the baseline.
    """
    self._path, self._predict = path, predict
    self._kept = _read(path) if jax.process_count() == 1 else {}
    self._used: dict[str, np.ndarray] = {}
    devices = [device.device_kind for device in jax.devices()]
    facts = repr((fingerprint.of_program(cfg), devices))
    self._facts = facts.encode() + _digest((variables, feed.store))

  def __call__(self, batch: EpisodeBatch) -> np.ndarray:
    """Returns the keypoints of a batch, [b m n 2]."""
    name = _digest(batch, self._facts).hex()
    found = self._kept.get(name)
    if found is None or found.shape != batch.query.keypoints.shape:
      found = self._predict(batch)
    self._used[name] = found
    return found

  def keep(self) -> None:
    """Writes what was predicted since this was created, unless the file has it.

    Raises:
      OSError: The file cannot be written.
    """
    if not parallel.is_main_process() or self._used.keys() == self._kept.keys():
      return
    write_arrays(self._path, self._used)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except Exception:  # whatever is wrong with the file, the baseline is only run again
    return {}


def _digest(tree: Any, facts: bytes = b"") -> bytes:
  """Returns a hash of the arrays of a tree, and of what else is given."""
  digest = hashlib.blake2b(facts, digest_size=16)
  for leaf in jax.tree.leaves(tree):
    array = np.ascontiguousarray(leaf)
    digest.update(repr((array.shape, array.dtype)).encode())
    digest.update(array.view(np.uint8).data)
  return digest.digest()
