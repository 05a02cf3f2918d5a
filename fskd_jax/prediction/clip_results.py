"""Collects the objects of a video, for its report and for smoothing."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from fskd_jax.prediction.results import Prediction
from fskd_jax.tracking import report
from fskd_jax.tracking.identities import measured_spread
from fskd_jax.tracking.smoothing import smooth


@dataclasses.dataclass
class _History:
  """The places, among those seen, of the frames with an object, and what was found."""

  places: list[int]
  found: list[Prediction]
  kept: list[np.ndarray]

  def stacked(self, name: str) -> np.ndarray:
    return np.concatenate([getattr(x, name) for x in self.found])


class ClipResults:
  """The objects of one video, by their identities."""

  def __init__(self, name: str, rate: float):
    """Starts without frames.

    Args:
      name: Name of the video.
      rate: Frames per second, on average.
    """
    self.name, self._rate = name, rate
    self.times: list[float] = []
    self.numbers: list[int] = []
    self._histories: dict[int, _History] = {}

  def add(
    self,
    number: int,
    time: float,
    identities: Int[np.ndarray, " r"],
    found: Prediction,
    kept: Bool[np.ndarray, "r n"],
  ) -> None:
    """Adds a frame.

    Args:
      number: Its number in the video.
      time: Its time, seconds.
      identities: Numbers of the objects found in it.
      found: The objects.
      kept: Whether each keypoint is confident enough.
    """
    place = len(self.times)
    self.times.append(time)
    self.numbers.append(number)
    for row, identity in enumerate(identities.tolist()):
      history = self._histories.setdefault(identity, _History([], [], []))
      history.places.append(place)
      history.found.append(found[row])
      history.kept.append(kept[row])

  def report(self, searches: int) -> dict[str, Any]:
    """Returns what clips.json says of the video.

    Args:
      searches: Number of frames that were searched as a whole.
    """
    return {
      "video": self.name,
      "frames": len(self.times),
      "seconds": round(self.times[-1], 4) if self.times else 0.0,
      "searches": searches,
      "objects": [
        self._about(identity, history)
        for identity, history in sorted(self._histories.items())
      ],
    }

  def _about(self, identity: int, history: _History) -> dict[str, Any]:
    """Returns the report of one object; stretches are numbers of frames."""
    places = np.array(history.places)
    shown = history.found[0].is_shown()[0]
    low = np.stack(history.kept)[:, shown].mean(1) < 0.5
    there = np.zeros(len(self.times), bool)
    there[places] = True
    doubtful = np.zeros(len(self.times), bool)
    doubtful[places[low]] = True
    jumps = report.jumps(
      self._in_frames(places),
      history.stacked("keypoints"),
      history.stacked("box")[:, 2:].max(1),
    )
    names = history.found[0].names
    return {
      "object": identity,
      "frames": len(places),
      "mean_confidence": float(history.stacked("confidence")[:, shown].mean().round(4)),
      "low_confidence": self._spans(doubtful),
      "missing": self._spans(~there),
      "jumps": [
        {
          "frame": self.numbers[places[i]],
          "keypoint": names[n],
          "sides": round(sides, 3),
        }
        for i, n, sides in jumps
      ],
    }

  def smoothed(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields smoothed objects, frame by frame.

    Yields:
      Place of the frame, number of the object; its keypoints [n 2]; their standard
      deviations [n] (root of the mean variance of x and y); the measured confidences
      [n], NaN where the object was not found.
    """
    rows = []
    for identity, history in self._histories.items():
      every = range(history.places[0], history.places[-1] + 1)
      places = np.array(history.places) - every[0]
      sides = history.stacked("box")[:, 2:].max(1)
      confidence = history.stacked("confidence")
      spread = measured_spread(history.stacked("covariance"), confidence, sides)
      found = smooth(
        self._in_frames(every),
        _placed(history.stacked("keypoints"), places, len(every)),
        _placed(spread, places, len(every)),
        float(np.median(sides)),
      )
      deviation = np.sqrt(np.trace(found.covariance, axis1=-2, axis2=-1) / 2)
      sure = _placed(confidence, places, len(every))
      values = zip(every, found.keypoints, deviation, sure)
      rows += [(place, identity, *row) for place, *row in values]
    yield from sorted(rows, key=lambda row: row[:2])

  def _spans(self, flags: Bool[np.ndarray, " f"]) -> list[tuple[int, int]]:
    """Returns the first and last frame of every stretch of places with a flag."""
    return [(self.numbers[a], self.numbers[b]) for a, b in report.spans(flags)]

  def _in_frames(self, places: Sequence[int] | np.ndarray) -> list[float]:
    """Returns times in frames of the average rate."""
    return [self.times[place] * self._rate for place in places]


def _placed(values: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
  """Returns an array of `count` rows with values at places, NaN elsewhere."""
  array = np.full((count, *values.shape[1:]), np.nan)
  array[places] = values
  return array
