"""Compares decoded keypoints with the annotation, for the fit of confidences."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax import geometry
from fskd_jax.episode import EpisodeBatch
from fskd_jax.heatmaps.decoding import Readout

THRESHOLD = 0.1
"""Distance within which a keypoint is found, as a fraction of the longer box side."""


class Outcomes(NamedTuple):
  """Predicted keypoints that the support asked for, compared with the annotation.

  Attributes:
    mass, peak: [e], as in `Readout`.
    correct: Bool [e], whether the keypoint is visible and found within `THRESHOLD`.
    distance: [e], squared Mahalanobis distance to the truth; meaningless where not
      correct.
    annotation: [e 2], ids of the query instance and of the keypoint type: the same
      keypoint may be asked for in several episodes.
  """

  mass: Float[np.ndarray, " e"]
  peak: Float[np.ndarray, " e"]
  correct: Bool[np.ndarray, " e"]
  distance: Float[np.ndarray, " e"]
  annotation: Int[np.ndarray, "e 2"]


def outcomes_of(batch: EpisodeBatch, found: Readout) -> Outcomes:
  """Compares the readout of a batch with its annotation.

  Args:
    batch: The episodes, as NumPy arrays; padding is left out.
    found: The readouts [b m n ..], in pixels of the crops.
  """
  query = batch.query
  offsets = found.keypoints - query.keypoints
  side = np.maximum(query.box[..., 2:].max(-1), 1) / geometry.affine_scale(
    query.to_original
  )
  near = np.linalg.norm(offsets, axis=-1) <= THRESHOLD * side[..., None]
  whitened = np.linalg.solve(found.covariance, offsets[..., None])[..., 0]
  asked = np.broadcast_to(batch.support.visible.any(1)[:, None], query.visible.shape)
  annotation = np.stack(
    np.broadcast_arrays(query.instance[..., None], batch.keypoint_ids[:, None]), axis=-1
  )
  fields = (
    found.mass,
    found.peak,
    near & query.visible,
    (offsets * whitened).sum(-1),
    annotation,
  )
  return Outcomes(*(np.asarray(field)[asked] for field in fields))


def concatenate(parts: Iterable[Outcomes]) -> Outcomes:
  """Concatenates outcomes, at least one."""
  return Outcomes(*map(np.concatenate, zip(*parts)))
