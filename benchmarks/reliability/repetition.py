"""The same thing again: predictions in one process, trainings of one seed."""

import pathlib
from collections.abc import Iterator

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.predicting import KEYPOINTS, SIZE, Predicting
from benchmarks.reliability.trial import Place, Trial, check, script

_GROWTH = 50
"""Megabytes that the memory may grow by after the first 30 predictions."""


def predictions(place: Place) -> Iterator[Trial]:
  """Predictions of images of many sizes: alike again and again, and no memory lost."""
  from fskd_jax.prediction.load import load

  tools = Predicting(place)
  detector = load(runs.trained(place))
  support = detector.support([tools.support], [KEYPOINTS], [(0, 0, *SIZE)])
  first, memory = {}, []
  rng = np.random.default_rng(place.seed)
  sizes = rng.integers(20, 400, (20, 2)).tolist()
  for number in range(300 if place.is_full else 60):

    def run(number=number) -> None:
      size = tuple(sizes[number % len(sizes)])
      picture = tools.picture.resize(size)
      found = detector.predict(support, [picture], [(0, 0, *size)]).keypoints
      check(np.isfinite(found).all(), "not finite")
      check(np.array_equal(first.setdefault(size, found), found), "not as before")
      if number >= 30:
        memory.append(_megabytes())

    yield Trial(f"prediction {number}", run)

  def bounded() -> None:
    grown = memory[-1] - memory[0]
    check(grown < _GROWTH, f"{grown:.0f} MB more than after 30")

  yield Trial(f"memory from the 30th to the {number + 1}th", bounded)


def reproduced(place: Place) -> Iterator[Trial]:
  """A seed twice, a call twice, and images alone or in a batch."""
  from fskd_jax.prediction.load import load

  for number in range(3 if place.is_full else 1):

    def again(number=number) -> None:
      workdir = place.work / f"again_{number}"
      done = script(place, "train.py", *runs.flags(place, workdir))
      check(done.status == 0, f"does not train: {done.last[:200]}")
      runs.check_same(workdir, runs.trained(place))

    yield Trial(f"seed again, {number}", again)
  tools = Predicting(place)
  detector = load(runs.trained(place))
  support = detector.support([tools.support], [KEYPOINTS], [(0, 0, *SIZE)])
  pictures = [tools.picture.rotate(20 * i) for i in range(7)]
  boxes = [(0, 0, *SIZE)] * 7

  def twice() -> None:
    one, two = (detector.predict(support, pictures, boxes) for _ in range(2))
    check(np.array_equal(one.keypoints, two.keypoints), "keypoints differ")
    check(np.array_equal(one.confidence, two.confidence), "confidences differ")

  yield Trial("a call twice", twice)

  def batch() -> None:
    whole = detector.predict(support, pictures, boxes)
    for i, (picture, box) in enumerate(zip(pictures, boxes)):
      one = detector.predict(support, [picture], [box])
      distance = np.abs(one.keypoints[0] - whole.keypoints[i]).max()
      check(distance < 1e-2, f"{distance:g} px")

  yield Trial("7 images in a batch or alone", batch)


def _megabytes() -> float:
  """Returns the resident memory of this process."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * 4096 / 2**20
