"""Distances between found and annotated keypoints, in pixels of the original images."""

from typing import NamedTuple

import numpy as np

from fskd_jax import geometry
from fskd_jax.episode import EpisodeBatch, valid_queries


def recovery_scale(protocol: str, image_size: int) -> float:
  """Returns the factor by which a protocol scales all distances; exactly 1 for ours.

  The original divides by the side L of its input to normalise coordinates, but
  multiplies by L - 1 to recover pixels, for predictions and annotations alike.

  Source: docs/algorithm.md#recovery-of-pixels.
  """
  return (image_size - 1) / image_size if protocol == "reference" else 1.0


class Distances(NamedTuple):
  """One entry per valid query keypoint, all arrays of one length.

  Attributes:
    to_box: The distance divided by the longer side of the instance's box.
    to_image: The distance divided by the longer side of the original image.
    episode: The number of the episode.
    keypoint: The id of the keypoint type.
    species: The name of the species in the query image.
  """

  to_box: np.ndarray
  to_image: np.ndarray
  episode: np.ndarray
  keypoint: np.ndarray
  species: np.ndarray


def distances(
  batch: EpisodeBatch,
  predictions: np.ndarray,
  species: np.ndarray,
  recovery: float = 1.0,
) -> Distances:
  """Measures predictions in original pixels.

  Args:
    batch: The episodes, as NumPy arrays.
    predictions: float [b m n 2], pixels of the network's input.
    species: str [b m], the species of the instance in each query image.
    recovery: The factor on all distances, as returned by `recovery_scale`.

  Raises:
    ValueError: The shapes do not fit together, or a valid query has an empty box.
  """
  query, valid = batch.query, np.asarray(valid_queries(batch))
  wanted = (query.keypoints.shape, valid.shape[:2])
  if (predictions.shape, np.shape(species)) != wanted:
    came = (predictions.shape, np.shape(species))
    raise ValueError(f"predictions and species have shapes {came}, expected {wanted}")
  offsets = geometry.apply_affine(
    query.to_original.astype(np.float64), predictions
  ) - geometry.apply_affine(query.to_original.astype(np.float64), query.keypoints)
  errors = np.hypot(offsets[..., 0], offsets[..., 1]) * recovery
  box_side = query.box[..., 2:].max(-1)
  if (box_side[valid.any(-1)] <= 0).any():
    raise ValueError("a query instance with visible keypoints has an empty box")
  with np.errstate(divide="ignore", invalid="ignore"):
    to_box = errors / box_side[..., None]
    to_image = errors / query.image_size.max(-1)[..., None]
  episode, image, slot = np.nonzero(valid)
  return Distances(
    to_box=to_box[valid],
    to_image=to_image[valid],
    episode=episode,
    keypoint=np.asarray(batch.keypoint_ids)[episode, slot],
    species=np.asarray(species)[episode, image],
  )
