"""Baselines of pose estimation: the mean pose of the training set."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int32

from fskd_jax import geometry
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import EpisodeBatch


def mean_pose(
  persons: Sequence[Instance], types: Int32[np.ndarray, " n"]
) -> Float[np.ndarray, "n 2"]:
  """Returns the mean location of each keypoint type, as fractions of the box.

  A type that no person shows is at (0.5, 0.5).

  Args:
    persons: The persons of the training split.
    types: The keypoint types, as indices of the vocabulary.
  """
  visible = np.stack([person.visible[types] for person in persons])[..., None]
  points = np.stack([person.keypoints[types] for person in persons])
  boxes = np.array([person.box for person in persons])[:, None]
  relative = np.where(visible, (points - boxes[..., :2]) / boxes[..., 2:], 0.0).sum(0)
  count = visible.sum(0)
  return np.where(count > 0, relative / np.maximum(count, 1), 0.5)


def place_pose(
  pose: Float[np.ndarray, "n 2"], batch: EpisodeBatch
) -> Float[np.ndarray, "b n 3"]:
  """Predicts one pose in every person's box: pixels of the crops and a score of 1."""
  query = batch.query
  corner, size = query.box[:, 0, None, :2], query.box[:, 0, None, 2:]
  to_crop = geometry.invert_affine(query.to_original[:, 0])
  points = geometry.apply_affine(to_crop, corner + pose * size)
  return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
