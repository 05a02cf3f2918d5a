"""Follows the objects of a video: each is looked for where it must be by now.

A search looks at the whole frame, which takes ten times as long as a look at one box.
It is made in the first frame, and again when the raw score of an object falls, when one
is missing, and from time to time where any number of objects may come. After a search
that did not help, the next one waits twice as long.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from fskd_jax.prediction import search
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.objects import LEAST
from fskd_jax.prediction.results import ARRAYS, Prediction
from fskd_jax.prediction.rows import Boxes, Rows, placed
from fskd_jax.prediction.search import to_boxes
from fskd_jax.prediction.supports import Support
from fskd_jax.tracking.identities import PATIENCE, Track, Tracker
from fskd_jax.tracking.similarity import distinct

FALLEN = 0.7
"""Fraction of its usual score below which an object may be lost."""

HOLD = 0.5
"""Least score of an object that is followed, as a fraction of the best one's in the
frame; a new one takes `objects.LEAST`. Where any number may come, it is also one of the
highest usual score: in a frame that all have left, the best is no object."""

FIRST_WAIT = 4
"""Frames until the next search after the first one that did not help."""

SOON = 8
"""The same for an object that was just seen: it may come from behind another one."""

LONGEST = 64
"""Frames between two searches, at most, while an object is missing or may come."""

STRAY = 1.25
"""Factor between the usual side of an object and that of the box in which it is looked
for, at most. Half of it, once found, would be looked for in ever smaller boxes."""


class Sighting(NamedTuple):
  """The objects found in a frame, before it is known which one is which.

  Attributes:
    found: The objects.
    scores: Raw score of each.
    searched: Whether the whole frame was searched.
    helped: Whether the search found more than the boxes where the objects had to be.
  """

  found: Prediction
  scores: Float[np.ndarray, " r"]
  searched: bool = False
  helped: bool = False

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns the content as arrays, for the journal."""
    return {
      **{name: getattr(self.found, name) for name in ARRAYS[1:]},
      "scores": self.scores,
      "searched": np.array([self.searched, self.helped]),
    }

  @staticmethod
  def of(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> "Sighting":
    """Returns the sighting of such arrays."""
    fields = [arrays[name] for name in ARRAYS[1:]]  # all are of the one frame
    found = Prediction(np.zeros(len(fields[0]), np.int64), *fields, names=names)
    return Sighting(found, arrays["scores"], *arrays["searched"].tolist())


class Clip:
  """The objects of one video.

  `look` runs the network and changes nothing; `add` takes what it found. So a run that
  was killed goes on from the sightings that it had recorded.
  """

  def __init__(
    self,
    detector: KeypointDetector,
    support: Support,
    objects: int | None,
    boxes: Boxes = None,
  ):
    """Starts before the first frame.

    Args:
      detector: The detector.
      support: The keypoint types.
      objects: Number of objects; None for any number.
      boxes: Boxes that were given for all frames: nothing is searched for then.
    """
    self._detector, self._support = detector, support
    self._most, self._boxes = objects, boxes
    self._tracker = Tracker(objects)
    self._usual: dict[int, float] = {}
    self._wait, self._due, self._since = FIRST_WAIT, 0, 0
    self.searches = 0

  def look(
    self, frame: UInt8[np.ndarray, "h w 3"], interval: float, label: str
  ) -> Sighting:
    """Returns what is found in the next frame.

    Args:
      frame: The frame, RGB.
      interval: Time since the frame before, in frames of the average rate; 0 at the
        first.
      label: Name of the frame in messages.

    Raises:
      ValueError: A box that was given lies outside the frame.
    """
    size = frame.shape[1::-1]
    if self._boxes is not None:
      rows = placed([self._boxes], [size], [label], _none)
      return Sighting(*self._detector.detect(self._support, [frame], rows))
    rows = self._expected(size, interval)
    found, scores = self._look_in(frame, rows)
    kept = self._best(found, scores, HOLD)
    found, scores = found[kept], scores[kept]
    is_empty = self._most == 1 and not len(scores)
    if not (is_empty or self._is_due(scores)):
      return Sighting(found, scores)
    several = None if self._most != 1 else 1
    rows = self._detector.locate(self._support, [frame], [None], [label], several)
    more, its_scores = self._look_in(frame, rows)
    found, before = _joined(found, more), scores
    scores = np.concatenate([scores, its_scores])
    kept = self._best(found, scores, LEAST)
    found, scores = found[kept], scores[kept]
    is_better = before.sum() < FALLEN * scores.sum()
    return Sighting(found, scores, True, bool(is_better or len(scores) > len(before)))

  def add(self, sighting: Sighting, interval: float) -> Int[np.ndarray, " r"]:
    """Takes what was found in the next frame; returns the identities of the objects.

    Args:
      sighting: The result of `look`.
      interval: The time that `look` took.

    Returns:
      Their numbers, from 1; 0 for what is no object, see `Tracker.assign`.
    """
    found, scores = sighting.found, sighting.scores
    self._tracker.advance(interval)
    identities = self._tracker.assign(
      found.keypoints,
      found.covariance,
      found.confidence,
      np.array([self._side(row) for row in found]),
    )
    for identity, score in zip(map(int, identities), map(float, scores)):
      if not identity:
        continue
      before = self._usual.get(identity, score)
      if score >= FALLEN * before:
        self._usual[identity] = 0.9 * before + 0.1 * score
      elif sighting.searched:
        self._usual[identity] = score  # there is no better one
    self._plan_search(sighting)
    return identities

  def _side(self, found: Prediction) -> float:
    """Returns the side of the box of one object: by its keypoints, if they tell."""
    points, weights = found.keypoints[0], self._weights(found.confidence[0])
    side = search.side_from_keypoints(points, weights, self._support.places)
    return side or float(found.box[0, 2:].max())

  def _plan_search(self, sighting: Sighting) -> None:
    """Sets when the next search may be."""
    self._due, self._since = self._due - 1, self._since + 1
    if sighting.searched:
      self.searches += 1
      self._since = 0
      if sighting.helped:
        self._wait, self._due = FIRST_WAIT, 0
      else:
        behind = any(0 < x.missed < PATIENCE for x in self._tracker.tracks)
        self._wait = min(self._wait, SOON) if behind else self._wait
        self._due, self._wait = self._wait, min(2 * self._wait, LONGEST)
    elif self._since > self._wait and not self._is_missing(sighting.scores):
      self._wait = FIRST_WAIT

  def _is_due(self, scores: Float[np.ndarray, " r"]) -> bool:
    """Whether the frame is to be searched, by the scores at the expected places."""
    others_may_come = self._most is None and self._since >= LONGEST
    return others_may_come or (self._due <= 0 and self._is_missing(scores))

  def _is_missing(self, scores: Float[np.ndarray, " r"]) -> bool:
    """Whether an object is not found, or with a score that has fallen."""
    tracks = self._tracker.tracks
    wanted = len(tracks) if self._most is None else self._most
    if len(scores) < max(wanted, 1):
      return True
    usual = [self._usual[track.identity] for track in tracks]
    return bool(usual) and min(scores) < FALLEN * min(usual)

  def _expected(self, size: tuple[int, int], interval: float) -> Rows:
    """Returns where the objects known must be in the next frame."""
    squares = [self._square(track, size, interval) for track in self._tracker.tracks]
    known = [square for square in squares if square is not None]
    boxes = to_boxes(np.array(known, np.float64).reshape(-1, 3))
    return Rows(np.zeros(len(boxes), int), boxes, np.zeros(len(boxes), bool))

  def _square(
    self, track: Track, size: tuple[int, int], interval: float
  ) -> Float[np.ndarray, "3"] | None:
    moves = track.missed < PATIENCE
    points = track.belief.points + track.belief.mean[:, 2:] * interval * moves
    sides = track.side / STRAY, track.side * STRAY
    weights, places = self._weights(track.weights), self._support.places
    return search.square_from_keypoints(points, weights, places, size, sides)

  def _weights(self, confidence: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.where(self._support.shown, confidence, 0.0)

  def _look_in(self, frame: np.ndarray, rows: Rows) -> tuple[Prediction, np.ndarray]:
    if len(rows.boxes):
      return self._detector.detect(self._support, [frame], rows)
    return _nothing(self._support.names), np.zeros(0)

  def _best(
    self, found: Prediction, scores: Float[np.ndarray, " r"], least: float
  ) -> Int[np.ndarray, " k"]:
    """Returns the numbers of the best objects, without duplicates.

    Args:
      found: The objects.
      scores: Raw score of each.
      least: Least score, as a fraction of the best one's.
    """
    kept = distinct(found.keypoints, scores, found.box[:, 2:].max(1, initial=0.0))
    least *= scores.max(initial=0.0)
    if self._most is None:
      least = max(least, HOLD * max(self._usual.values(), default=0.0))
    return kept[scores[kept] >= least][: self._most]


def _none(_: list[int]) -> tuple[np.ndarray, np.ndarray]:
  raise AssertionError("all boxes are given")


def _nothing(names: tuple[str, ...]) -> Prediction:
  n = len(names)
  shapes = (0, 4), (0, n, 2), (0, n), (0, n, 2, 2)
  return Prediction(np.zeros(0, np.int64), *map(np.zeros, shapes), names=names)


def _joined(one: Prediction, other: Prediction) -> Prediction:
  arrays = [np.concatenate([getattr(x, f) for x in (one, other)]) for f in ARRAYS]
  return Prediction(*arrays, names=one.names)
