"""Cuts crops for the network, pads batches to a few sizes, and maps results back."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from fskd_jax import geometry
from fskd_jax.config import DataConfig
from fskd_jax.data import augment
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.prediction import photographs

QUERY_BATCH = 8
"""Number of query images detected together; a single image is detected alone."""


def cut(
  images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
  boxes: Float[np.ndarray, "t 4"],
  cfg: DataConfig,
) -> tuple[UInt8[np.ndarray, "t l l 3"], Float[np.ndarray, "t 2 3"]]:
  """Returns the crops around boxes, and the matrices from crops to images."""
  matrices = augment.evaluation_crops(boxes, cfg)
  crops = [photographs.crop(x, m, cfg.image_size) for x, m in zip(images, matrices)]
  return np.stack(crops), matrices


def slices(count: int) -> list[slice]:
  """Returns the parts of `count` query images that are detected together."""
  starts = range(0, count, QUERY_BATCH)
  return [slice(start, start + QUERY_BATCH) for start in starts]


def usual_size(count: int) -> int:
  """Returns the size that a batch is padded to: two programs serve any number."""
  return 1 if count == 1 else QUERY_BATCH


def power_of_two(count: int, smallest: int) -> int:
  """Returns the next power of two that is at least `smallest`."""
  return max(smallest, 1 << (count - 1).bit_length())


def padded(array: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
  """Pads the leading axes to `sizes` with zeros."""
  missing = [(0, size - length) for size, length in zip(sizes, array.shape)]
  return np.pad(array, missing + [(0, 0)] * (array.ndim - len(sizes)))


def in_images(
  readout: Readout,
  to_original: Float[np.ndarray, "q 2 3"],
  shown: Bool[np.ndarray, " n"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Removes the padding of a batch, and maps results to the original images.

  Args:
    readout: Keypoints and covariances in pixels of the crops, padded.
    to_original: Matrices from crops to images.
    shown: Whether some support image shows each type.

  Returns:
    Keypoints [q n 2] and covariances [q n 2 2] in pixels of the images, mass and peak
    [q n], all float64; NaN for types that are not shown.
  """
  count, types = len(to_original), len(shown)
  points, spread, *scores = (np.asarray(x)[:count, :types] for x in readout)
  matrix = to_original.astype(np.float64)
  linear = matrix[:, None, :, :2]
  fields = geometry.apply_affine(matrix, points), linear @ spread @ linear.mT, *scores
  fields = [field.astype(np.float64) for field in fields]
  for field in fields:
    field[:, ~shown] = np.nan
  keypoints, covariance, mass, peak = fields
  return keypoints, covariance, mass, peak
