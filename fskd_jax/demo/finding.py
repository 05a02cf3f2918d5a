"""Finds on some pictures of the page what is marked on others."""

import threading
from collections.abc import Sequence
from typing import Any

from fskd_jax.demo.gallery import Picture
from fskd_jax.demo.marks import Marks
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.files import inside
from fskd_jax.prediction.results import Prediction
from fskd_jax.prediction.supports import Support


class Finder:
  """A detector for several visitors, one at a time; the last support is kept."""

  def __init__(self, detector: KeypointDetector):
    """Keeps the detector."""
    self.detector = detector
    self._lock = threading.Lock()
    self._last: tuple[Any, Support] | None = None

  def use(self, detector: KeypointDetector) -> None:
    """Takes another detector from now on."""
    with self._lock:
      self.detector, self._last = detector, None

  def find(
    self, marks: Marks, queries: Sequence[Picture], is_whole: bool
  ) -> list[dict[str, Any]]:
    """Finds the keypoints that people placed in some pictures.

    Args:
      marks: What is marked.
      queries: The pictures to look at. A box that was drawn on one is used.
      is_whole: Whether objects fill the pictures without a box; else they are searched.

    Returns:
      For each query its "points" as the page has them, with their "spread" (the
      covariance's xx, xy, yy), and the "box" that was looked at.

    Raises:
      ValueError: Nothing is marked, or a picture cannot be read.
    """
    boxes = {one.picture.key: one.box for one in marks.pictures}
    given = [boxes.get(query.key) for query in queries]
    if is_whole:
      given = [box or (0.0, 0.0, *query.size) for box, query in zip(given, queries)]
    with self._lock:
      support = self._support(marks)
      found = self.detector.predict(support, [q.read() for q in queries], given)
    return [
      _json(found.of_image(number), query) for number, query in enumerate(queries)
    ]

  def _support(self, marks: Marks) -> Support:
    shots = [one for one in marks.pictures if one.by_hand()]
    if not shots:
      raise ValueError("Mark keypoints on a picture first.")
    points = [{n: (p.x, p.y) for n, p in one.by_hand().items()} for one in shots]
    order = [name for name in marks.names if any(name in shot for shot in points)]
    rows: list[dict[str, Any]] = [{n: shot.get(n) for n in order} for shot in points]
    boxes = [one.object_box() for one in shots]
    about = [one.picture.key for one in shots], rows, boxes
    if self._last is None or self._last[0] != about:
      pixels = [one.picture.read() for one in shots]
      self._last = about, self.detector.support(pixels, rows, boxes)
    return self._last[1]


def _json(found: Prediction, query: Picture) -> dict[str, Any]:
  found = inside(found[:1], query.size)
  values = zip(
    found.names,
    found.is_shown()[0].tolist(),
    found.keypoints[0].tolist(),
    found.confidence[0].tolist(),
    found.covariance[0].reshape(-1, 4)[:, [0, 1, 3]].tolist(),
  )
  points = {
    name: {"x": x, "y": y, "sure": sure, "hidden": False, "spread": spread}
    for name, is_shown, (x, y), sure, spread in values
    if is_shown
  }
  return {"points": points, "box": found.box[0].tolist()}
