"""Kinds of mistakes: the place at which a keypoint was found instead of its own.

A keypoint found on its mirror image (the other ankle) is another mistake than one found
on the background, and has another cure.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax import geometry
from fskd_jax.episode import PADDING, EpisodeBatch, valid_queries

KINDS = ("right", "other_side", "other_keypoint", "nearby", "elsewhere")
"""Places at which a keypoint is found: within the threshold of its own; of that of its
mirror image; of that of another keypoint; within twice the threshold of its own; or at
none of these. Among other keypoints the nearest counts."""


class Judge(NamedTuple):
  """Types and distance by which places are told apart.

  Attributes:
    partner: For every keypoint type the one that a mirror makes of it, itself if none,
      as returned by `Feed.permutation`.
    threshold: Distance within which a place is that of a keypoint, as a fraction of
      the longer box side.
  """

  partner: Int[np.ndarray, " v"]
  threshold: float


def kinds_of(
  batch: EpisodeBatch,
  predictions: Float[np.ndarray, "b m n 2"],
  judge: Judge,
  recovery: float = 1.0,
) -> Int[np.ndarray, " e"]:
  """Returns the kind of place at which every valid query keypoint was found.

  Other keypoints are those of the episode that the query shows.

  Args:
    batch: The episodes, as NumPy arrays.
    predictions: The found keypoints, pixels of the network's input.
    judge: The mirror partners of the types, and the threshold.
    recovery: The factor on all distances, as returned by `distances.recovery_scale`.

  Returns:
    Indices of `KINDS`, in the order of `distances.distances`.
  """
  valid = np.asarray(valid_queries(batch))
  matrices = batch.query.to_original.astype(np.float64)
  found = geometry.apply_affine(matrices, predictions) * recovery
  places = geometry.apply_affine(matrices, batch.query.keypoints) * recovery
  limits = judge.threshold * batch.query.box[..., 2:].max(-1)
  ids = np.asarray(batch.keypoint_ids)
  partners = _partners(ids, judge.partner)
  kinds = [np.zeros(0, np.intp)]
  for b, m in np.ndindex(valid.shape[:2]):
    asked, shown = map(np.flatnonzero, (valid[b, m], batch.query.visible[b, m]))
    if len(asked):
      offsets = found[b, m, asked, None] - places[b, m, shown]
      distances = np.hypot(offsets[..., 0], offsets[..., 1]) / limits[b, m]
      is_own = asked[:, None] == shown
      is_partner = partners[b, asked, None] == ids[b, shown]
      kinds.append(_kinds(distances, is_own, is_partner))
  return np.concatenate(kinds)


def _partners(
  ids: Int[np.ndarray, "b n"], partner: Int[np.ndarray, " v"]
) -> Int[np.ndarray, "b n"]:
  """Returns the ids of the partners; types past the vocabulary have none."""
  known = (ids >= 0) & (ids < len(partner))
  return np.where(known, partner[np.where(known, ids, 0)], PADDING)


def _kinds(
  distances: Float[np.ndarray, "p q"],
  is_own: Bool[np.ndarray, "p q"],
  is_partner: Bool[np.ndarray, "p q"],
) -> Int[np.ndarray, " p"]:
  """Returns the kinds of p keypoints, given distances to q places over the limit."""
  own = distances[is_own]
  others = np.where(is_own, np.inf, distances)
  rows, nearest = np.arange(len(own)), others.argmin(1)
  is_other = others[rows, nearest] <= 1
  cases = [own <= 1, is_other & is_partner[rows, nearest], is_other, own <= 2]
  return np.select(cases, range(len(cases)), default=len(cases))
