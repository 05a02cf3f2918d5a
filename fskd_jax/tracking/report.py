"""Finds what is doubtful in a clip: jumps, and times of low confidence."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

JUMP = 0.25
"""Change of a keypoint's velocity that is a jump, in sides of the object per frame."""


def jumps(
  times: Sequence[float],
  keypoints: Float[np.ndarray, "t n 2"],
  sides: Float[np.ndarray, " t"],
) -> list[tuple[int, int, float]]:
  """Returns the measurements that cannot be reached from their neighbours.

  A keypoint jumps where it is farther than `JUMP` sides from where its two measurements
  before lead, and from the one before.

  Args:
    times: Times of the measurements in frames, ascending.
    keypoints: The measured keypoints, pixels; NaN where there is none.
    sides: Longer side of the object's box at each time, pixels.

  Returns:
    Place of the measurement, number of the keypoint, and the smaller of both distances
    in sides.
  """
  found = []
  for place in range(2, len(times)):
    before, last, now = keypoints[place - 2 : place + 1]
    step, gap = times[place] - times[place - 1], times[place - 1] - times[place - 2]
    led = last + (last - before) * (step / gap)
    away = np.minimum(*(np.linalg.norm(now - x, axis=-1) for x in (led, last)))
    away = away / sides[place]
    for number in np.flatnonzero(away > JUMP * max(step, 1.0)).tolist():
      found.append((place, number, float(away[number])))
  return found


def spans(flags: Iterable[bool] | Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
  """Returns the first and last places of the runs in which a flag is set."""
  padded: Any = np.array([False, *flags, False], np.int8)
  edges = np.flatnonzero(np.diff(padded))
  return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
