"""Smooths the keypoints of an object over a clip, and says how sure it is of each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fskd_jax.tracking import kalman
from fskd_jax.tracking.identities import SPEED
from fskd_jax.tracking.kalman import Belief

WANDERS = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Changes of velocity in a frame that are tried, in sides of the object."""


class Smooth(NamedTuple):
  """The keypoints of an object at every time of a clip.

  Attributes:
    keypoints: (x, y), pixels; NaN for types that are never found.
    covariance: Their covariance matrices.
    wander: The change of velocity that was chosen, in sides of the object.
  """

  keypoints: Float[np.ndarray, "t n 2"]
  covariance: Float[np.ndarray, "t n 2 2"]
  wander: float


def smooth(
  times: Sequence[float],
  keypoints: Float[np.ndarray, "t n 2"],
  spread: Float[np.ndarray, "t n 2 2"],
  side: float,
) -> Smooth:
  """Returns where the keypoints were, judged from all measurements of the clip.

  The change of velocity that makes the measurements likeliest is chosen of `WANDERS`.

  Args:
    times: Times of the measurements in frames, ascending; they need not be whole.
    keypoints: The measured keypoints, pixels; NaN where there is none.
    spread: Their covariance matrices, see `identities.measured_spread`.
    side: Typical longer side of the object's box, pixels.
  """
  intervals = [float(x) for x in np.diff(times)]
  found = [
    (*_filtered(intervals, keypoints, spread, side, wander), wander)
    for wander in WANDERS
  ]
  beliefs, _, wander = max(found, key=lambda candidate: candidate[1])
  beliefs = kalman.smoothed(beliefs, intervals, wander * side)
  never = ~np.isfinite(keypoints).all(-1).any(0)
  points, covariance = (
    np.stack([getattr(belief, name) for belief in beliefs])
    for name in ("points", "spread")
  )
  points[:, never], covariance[:, never] = np.nan, np.nan
  return Smooth(points, covariance, wander)


def _filtered(
  intervals: Sequence[float],
  keypoints: np.ndarray,
  spread: np.ndarray,
  side: float,
  wander: float,
) -> tuple[list[Belief], float]:
  """Returns the belief after each measurement, and the log-likelihood of all."""
  count = keypoints.shape[1]
  seen = np.isfinite(keypoints).all(-1)
  first = np.where(seen.any(0), seen.argmax(0), 0)
  start = keypoints[first, range(count)]
  # Nothing is known before the first measurement of a keypoint, not even the place.
  wide = np.broadcast_to(np.square(10 * side) * np.eye(2), (count, 2, 2))
  belief = kalman.start(np.nan_to_num(start), wide, SPEED * side)
  beliefs, total = [], 0.0
  for interval, points, around in zip([0.0, *intervals], keypoints, spread):
    belief = kalman.predicted(belief, interval, wander * side)
    total += float(np.nansum(kalman.surprise(belief, points, around)[1]))
    belief = kalman.updated(belief, points, around)
    beliefs.append(belief)
  return beliefs, total
