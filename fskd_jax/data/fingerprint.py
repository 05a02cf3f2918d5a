"""Facts that must be the same on all processes of a run, for `processes.check_same`.

Otherwise a host that lacks a commit, a flag or half of the data would train another
network without any error.
"""

import functools
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.data.annotations import KeypointDataset


def of_program(cfg: Config) -> dict[str, Any]:
  """Returns the configuration without its paths, and the versions of the code."""
  return config.shared(cfg) | {
    "the version of jax": jax.__version__,
    "the version of numpy": np.__version__,
    "the code of fskd_jax (CRC)": _code_checksum(),
  }


def of_dataset(dataset: KeypointDataset) -> dict[str, Any]:
  """Returns the vocabulary, counts and a checksum of the labels, but no pixels."""
  labels = 0
  for i in dataset.instances:
    said = repr((i.instance_id, i.image, i.species, i.box)).encode()
    labels = zlib.crc32(said + i.keypoints.tobytes() + i.visible.tobytes(), labels)
  return {
    "the list of keypoint names": dataset.keypoint_names,
    "the number of images": len(dataset.image_names),
    "the number of instances": len(dataset.instances),
    "the list of image names (CRC)": zlib.crc32(
      "\0".join(dataset.image_names).encode()
    ),
    "the labels (CRC)": labels,
  }


def of_variables(step: int, variables: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a checkpoint's step, 0 for a new run, and a checksum of the network."""
  return {"the step of the checkpoint": step, "the weights (CRC)": of_arrays(variables)}


def of_arrays(tree: Any) -> int:
  """Returns a checksum of the bytes of all arrays of a tree."""
  leaves = map(np.asarray, jax.tree.leaves(tree))
  return functools.reduce(lambda crc, x: zlib.crc32(x.tobytes(), crc), leaves, 0)


def _code_checksum() -> int:
  checksum = 0
  for path in sorted(pathlib.Path(__file__).parents[1].rglob("*.py")):
    checksum = zlib.crc32(path.read_bytes(), checksum)
  return checksum
