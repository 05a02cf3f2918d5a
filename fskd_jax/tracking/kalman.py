"""Kalman filter and smoother of points that move with nearly constant velocity.

The state of a point is (x, y, vx, vy) in pixels and pixels per unit of time. Its
velocity wanders as a random walk (Bar-Shalom, Li and Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, section 6.2). All functions take any
number of points at once, as leading axes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Belief(NamedTuple):
  """The states of points, as normal distributions.

  Attributes:
    mean: (x, y, vx, vy).
    covariance: Covariance matrix of each state.
  """

  mean: Float[np.ndarray, "*n 4"]
  covariance: Float[np.ndarray, "*n 4 4"]

  @property
  def points(self) -> Float[np.ndarray, "*n 2"]:
    """The expected locations."""
    return self.mean[..., :2]

  @property
  def spread(self) -> Float[np.ndarray, "*n 2 2"]:
    """The covariance matrices of the locations."""
    return self.covariance[..., :2, :2]


def start(
  points: Float[np.ndarray, "*n 2"],
  spread: Float[np.ndarray, "*n 2 2"],
  speed: float,
) -> Belief:
  """Returns the belief after the first measurement.

  Args:
    points: The measured locations.
    spread: Covariance matrices of the measurements.
    speed: Standard deviation of both parts of the velocity, whose mean is 0.
  """
  mean = np.concatenate([points, np.zeros_like(points)], axis=-1)
  covariance = np.zeros((*points.shape[:-1], 4, 4))
  covariance[..., :2, :2] = spread
  covariance[..., [2, 3], [2, 3]] = speed**2
  return Belief(mean, covariance)


def predicted(belief: Belief, interval: float, wander: float) -> Belief:
  """Returns the belief after some time without a measurement.

  Args:
    belief: The belief before.
    interval: The time, at least 0.
    wander: Standard deviation by which the velocity changes in one unit of time.
  """
  move, noise = _motion(interval, wander)
  return Belief(
    belief.mean @ move.T,
    move @ belief.covariance @ move.T + noise,
  )


def updated(
  belief: Belief,
  points: Float[np.ndarray, "*n 2"],
  spread: Float[np.ndarray, "*n 2 2"],
) -> Belief:
  """Returns the belief after a measurement; unchanged for points that are NaN."""
  seen = np.asarray(np.isfinite(points).all(-1))
  points = np.where(seen[..., None], points, belief.points)
  spread = np.where(seen[..., None, None], spread, np.eye(2))
  total = belief.spread + spread
  gain = np.linalg.solve(total, belief.covariance[..., :2, :]).mT
  mean = belief.mean + (gain @ (points - belief.points)[..., None])[..., 0]
  rest = np.eye(4) - np.concatenate([gain, np.zeros_like(gain)], axis=-1)
  # Joseph's form: stays symmetric and positive.
  covariance = rest @ belief.covariance @ rest.mT + gain @ spread @ gain.mT
  return Belief(
    np.where(seen[..., None], mean, belief.mean),
    np.where(seen[..., None, None], covariance, belief.covariance),
  )


def surprise(
  belief: Belief,
  points: Float[np.ndarray, "*n 2"],
  spread: Float[np.ndarray, "*n 2 2"],
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
  """Returns squared Mahalanobis distances, and log-likelihoods, of measurements.

  NaN for points that are NaN.
  """
  total, offset = belief.spread + spread, (points - belief.points)[..., None]
  squares = (offset.mT @ np.linalg.solve(total, offset))[..., 0, 0]
  with np.errstate(invalid="ignore"):  # NaN where there is no measurement
    volume = np.log(np.linalg.det(2 * np.pi * total))
  return squares, -0.5 * (squares + volume)


def smoothed(
  beliefs: list[Belief], intervals: list[float], wander: float
) -> list[Belief]:
  """Returns beliefs that know the measurements of all times (Rauch, Tung, Striebel).

  Args:
    beliefs: The belief after the measurement of each time.
    intervals: The time between each and the next, one less.
    wander: As for `predicted`.
  """
  found = [beliefs[-1]]
  for before, interval in zip(reversed(beliefs[:-1]), reversed(intervals)):
    move, _ = _motion(interval, wander)
    guess, after = predicted(before, interval, wander), found[-1]
    gain = np.linalg.solve(guess.covariance, move @ before.covariance).mT
    mean = before.mean + (gain @ (after.mean - guess.mean)[..., None])[..., 0]
    change = gain @ (after.covariance - guess.covariance) @ gain.mT
    found.append(Belief(mean, before.covariance + change))
  return found[::-1]


def _motion(interval: float, wander: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the matrix of the motion, and the covariance that it adds."""
  t = interval
  move = np.kron([[1.0, t], [0.0, 1.0]], np.eye(2))
  noise = wander**2 * np.kron([[t**3 / 3, t**2 / 2], [t**2 / 2, t]], np.eye(2))
  return move, noise
