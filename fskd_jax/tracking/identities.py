"""Finds the objects of a frame again among those of the frames before.

Each object has a Kalman filter for each of its keypoints. The objects of a frame are
assigned to those known so that the sum of their distances, in units of the predicted
spreads, is least: of the keypoints, of their mean, and of the size. An object that is
not found moves on by its velocity: two that cross keep their identities although only
one of them is seen for a while.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.tracking import kalman
from fskd_jax.tracking.kalman import Belief

WANDER = 0.02
"""Standard deviation of the change of velocity in a frame, in sides of the object."""

SPEED = 0.1
"""Standard deviation of the first velocity, in sides of the object per frame."""

SLACK = 0.03
"""Least standard deviation of a measurement, in sides of the object."""

FAR = 9.0
"""Mean squared distance of the keypoints, in units of their spread, that counts at
most; normal ones have 2. A single keypoint counts twice this at most."""

GROWTH = 1.02
"""Factor by which the usual side of an object changes in a frame, at most."""

RESIZED = 0.1
"""Standard deviation of the logarithm of the side of an object that is measured."""

GRACE = 10.0
"""Frames for which an object that is not found is expected where it must be; after
that, where the number of objects is known, it may be anywhere."""

MIDDLE = 0.15
"""Standard deviation of the mean keypoint of an object that turns round between two
frames, in sides of the object."""

NO_MORE = 1.5 * FAR
"""Squared distance beyond which an object is another one."""

PATIENCE = 30.0
"""Frames for which an object that is not found moves on; then it waits where it is."""

FORGOTTEN = 90.0
"""Frames after which an object that is not found is gone, where any number may come."""


@dataclasses.dataclass
class Track:
  """An object over time.

  Attributes:
    identity: Its number, from 1.
    belief: The states of its n keypoints.
    side: Usual side of its box, pixels.
    weights: Confidence of its keypoints when it was last found.
    missed: Frames since it was last found.
  """

  identity: int
  belief: Belief
  side: float
  weights: Float[np.ndarray, " n"]
  missed: float = 0.0


class Tracker:
  """The objects of one video. Time is counted in frames, which need not be whole."""

  def __init__(self, most: int | None = None):
    """Starts without objects.

    Args:
      most: Number of objects that there are; None for any number.
    """
    self._most, self._last = most, 0
    self.tracks: list[Track] = []

  def advance(self, interval: float) -> None:
    """Moves all objects on by a time in frames, to the frame that comes next."""
    for track in self.tracks:
      track.missed += interval
      moving = min(interval, max(0.0, PATIENCE - track.missed + interval))
      wander = WANDER * track.side
      track.belief = kalman.predicted(track.belief, moving, wander)
      if moving < interval:
        resting = Belief(track.belief.mean * [1, 1, 0, 0], track.belief.covariance)
        track.belief = kalman.predicted(resting, interval - moving, wander)
    if self._most is None:
      self.tracks = [track for track in self.tracks if track.missed < FORGOTTEN]

  def assign(
    self,
    keypoints: Float[np.ndarray, "r n 2"],
    covariance: Float[np.ndarray, "r n 2 2"],
    confidence: Float[np.ndarray, "r n"],
    sides: Float[np.ndarray, " r"],
  ) -> Int[np.ndarray, " r"]:
    """Takes the objects found in the present frame, and returns their identities.

    Args:
      keypoints: Keypoints of the objects, at most as many as there are; NaN for types
        that are never found.
      covariance: Their covariance matrices.
      confidence: Their confidence, 0..1. A doubtful keypoint weighs less: its
        covariance is divided by this.
      sides: Side of the box of each object, pixels, as its keypoints tell.

    Returns:
      The numbers of the objects, from 1. 0 is what is no object: where their number is
      known and none of them is long lost, a row that fits none was mixed from several.
    """
    # A quarter of a second, which images are spared.
    from scipy.optimize import linear_sum_assignment

    spread = measured_spread(covariance, confidence, sides)
    of_row: dict[int, Track] = {}
    costs = self._costs(keypoints, spread, sides)
    for row, place in zip(*linear_sum_assignment(np.minimum(costs, 4 * FAR))):
      if costs[row, place] < NO_MORE or self._most == 1:
        of_row[int(row)] = self.tracks[place]
    for row in range(len(keypoints)):
      track = of_row.get(row)
      if track is None:
        track = self._other(keypoints[row], spread[row], sides[row], of_row, costs[row])
        if track is None:
          continue
      else:
        track.belief = self._with(track, keypoints[row], spread[row])
      of_row[row] = track
      growth = GROWTH ** max(track.missed, 1.0)
      track.side *= float(np.clip(sides[row] / track.side, 1 / growth, growth))
      track.weights, track.missed = confidence[row], 0.0
    rows = range(len(keypoints))
    return np.array([of_row[i].identity if i in of_row else 0 for i in rows], np.int64)

  def _costs(
    self, keypoints: np.ndarray, spread: np.ndarray, sides: np.ndarray
  ) -> np.ndarray:
    """Returns the squared distance of each row from each track, in standard deviations.

    The keypoints and the size count up to `FAR` each. The mean keypoint counts, too,
    because an object that turns round has its keypoints elsewhere, but stays there.
    """
    costs = np.zeros((len(keypoints), len(self.tracks)))
    for place, track in enumerate(self.tracks):
      squares, _ = kalman.surprise(track.belief, keypoints, spread)
      pose = np.nanmean(np.minimum(squares, 2 * FAR), axis=1)
      offset = np.nanmean(keypoints - track.belief.points, axis=1)
      around = np.square(MIDDLE * track.side) * np.eye(2)
      precision = np.linalg.inv(np.nanmean(track.belief.spread, axis=0) + around)
      middle = np.einsum("ri,ij,rj->r", offset, precision, offset)
      size = np.square(np.log(sides / track.side) / RESIZED)
      costs[:, place] = np.minimum(pose, FAR) + np.minimum(size, FAR) + middle
    return costs

  def _other(
    self,
    points: np.ndarray,
    spread: np.ndarray,
    side: float,
    taken: dict[int, Track],
    costs: np.ndarray,
  ) -> Track | None:
    """Returns a new track; where all are known, the nearest of those long lost."""
    known = {track.identity for track in taken.values()}
    free = [i for i, track in enumerate(self.tracks) if track.identity not in known]
    belief = kalman.start(points, spread, SPEED * side)
    if self._most is not None and len(self.tracks) >= self._most:
      free = [i for i in free if self.tracks[i].missed > GRACE]
      if not free:
        return None
      track = self.tracks[min(free, key=lambda i: costs[i])]
      track.belief = belief
      return track
    self._last += 1
    track = Track(self._last, belief, side, np.ones(len(points)))
    self.tracks.append(track)
    return track

  def _with(self, track: Track, points: np.ndarray, spread: np.ndarray) -> Belief:
    """Returns the belief with a measurement; keypoints that jumped start again.

    Unless less than half of them did: those are mistaken for other ones, and wait.
    """
    squares, _ = kalman.surprise(track.belief, points, spread)
    jumped = squares > 4 * FAR
    if 2 * jumped.sum() < np.isfinite(squares).sum():
      points = np.where(jumped[:, None], np.nan, points)
      return kalman.updated(track.belief, points, spread)
    new = kalman.start(points, spread, SPEED * track.side)
    old = kalman.updated(track.belief, points, spread)
    return Belief(
      np.where(jumped[:, None], new.mean, old.mean),
      np.where(jumped[:, None, None], new.covariance, old.covariance),
    )


def measured_spread(
  covariance: Float[np.ndarray, "r n 2 2"],
  confidence: Float[np.ndarray, "r n"],
  sides: Float[np.ndarray, " r"],
) -> Float[np.ndarray, "r n 2 2"]:
  """Returns the covariance matrices of measurements, as the filter takes them.

  Args:
    covariance: Those that were predicted, square pixels.
    confidence: Confidence of the keypoints, 0..1; they are divided by it.
    sides: Longer side of the box of each object, pixels.
  """
  slack = np.square(SLACK * sides)[:, None, None, None] * np.eye(2)
  return (covariance + slack) / np.maximum(confidence, 0.05)[..., None, None]
