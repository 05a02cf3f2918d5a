"""Predicts queries one after the other, into files, pictures and reports."""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from fskd_jax.pictures.marks import Marks
from fskd_jax.prediction import ahead, files, photographs, videos
from fskd_jax.prediction.batches import QUERY_BATCH
from fskd_jax.prediction.clip_results import ClipResults
from fskd_jax.prediction.clips import Clip, Sighting
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.files import PredictionFiles
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.journal import Journal
from fskd_jax.prediction.pictures import Pictures
from fskd_jax.prediction.results import ARRAYS, Prediction
from fskd_jax.prediction.support_points import checked_box
from fskd_jax.prediction.supports import Support

T = TypeVar("T")

LEAST_SIDE = 8
"""Shortest side of a query image, pixels."""

LOST, CUT, BARE = "not predicted", "predicted in part", "no picture"
"""Kinds of problems: a query could not be read; a video ends early or is damaged; a
picture could not be drawn."""

Boxes = list[tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Session:
  """The state shared by all queries of a call.

  Attributes:
    detector: The detector.
    support: The keypoint types.
    names: Names of the types that are written.
    skeleton: Pairs of indices of these types.
    boxes: Boxes by path of the query; None if objects fill their images.
    objects: Number of objects in an image, at most; None for all.
    frames: Numbers of the frames of videos that are predicted.
    folder: Folder of the results.
    files: The table and the COCO file.
    pictures: The overlays, sheets and videos.
    journal: What was found, step by step.
    smooth: Whether smoothed keypoints of videos are written.
    problems: Sentences by kind of problem.
    reports: Reports of the videos, for clips.json.
    speeds: A sentence about each video.
  """

  detector: KeypointDetector
  support: Support
  names: tuple[str, ...]
  skeleton: list[tuple[int, int]]
  boxes: dict[pathlib.Path, Boxes] | None
  objects: int | None
  frames: slice
  folder: pathlib.Path
  files: PredictionFiles
  pictures: Pictures
  journal: Journal
  smooth: bool
  problems: dict[str, list[str]]
  reports: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  speeds: list[str] = dataclasses.field(default_factory=list)

  def run(self, queries: Sequence[Query]) -> None:
    """Predicts all images, then all videos."""
    numbered = [*enumerate(queries, 1)]
    self._predict_images([pair for pair in numbered if not pair[1].is_video])
    for number, query in numbered:
      if query.is_video:
        self._predict_video(number, query)

  def _predict_images(self, queries: Sequence[tuple[int, Query]]) -> None:
    """Predicts images, a batch of readable ones at a time, with their pictures."""
    bar = tqdm(None, "predicting", len(queries), unit="image", disable=None)

    def readable() -> Iterator[tuple[int, Query, np.ndarray]]:
      for (number, query), result in ahead.mapped(lambda x: self._read(x[1]), queries):
        try:
          yield number, query, result()
        except (ValueError, OSError) as error:
          self.problems[LOST].append(str(error))
          bar.update()

    with bar:
      for batch in _batched(readable(), QUERY_BATCH):
        boxes = [self._boxes(query, pixels) for _, query, pixels in batch]
        prediction = self._prediction(batch, boxes)
        for i, (number, query, image) in enumerate(batch):
          found = prediction.of_image(i)
          self.files.add(query.name, image.shape[1::-1], found, boxes=boxes[i])
          confidence = found.confidence[0] if len(found) else np.zeros(len(self.names))
          self.pictures.add(number, self._marks(query, image, found), confidence)
          bar.update()
    self.pictures.finish()

  def _prediction(
    self,
    batch: Sequence[tuple[int, Query, np.ndarray]],
    boxes: Sequence[Boxes | None],
  ) -> Prediction:
    """Returns the objects of a batch of images: recorded, or found now."""

    def compute() -> dict[str, np.ndarray]:
      pixels = [image for *_, image in batch]
      found = self.detector.predict(self.support, pixels, boxes, self.objects)
      return {name: getattr(found, name) for name in ARRAYS}

    found = self.journal.step([query.name for _, query, _ in batch], compute)
    whole = Prediction(*(found[name] for name in ARRAYS), names=self.support.names)
    return whole.of_types(self.names)

  def _read(self, query: Query) -> np.ndarray:
    """Returns the pixels of a query image that can be predicted.

    Raises:
      FileNotFoundError: The file does not exist.
      ValueError: The image cannot be read, is too small, or does not contain its box.
    """
    image = photographs.read(query.path, str(query.path))
    height, width = image.shape[:2]
    if min(width, height) < LEAST_SIDE:
      raise ValueError(
        f"{query.path}: {width} x {height} pixels, expected {LEAST_SIDE} x "
        f"{LEAST_SIDE} at least"
      )
    for box in self._boxes(query, image) or ():
      checked_box(box, (width, height), str(query.path))
    return image

  def _predict_video(self, number: int, query: Query) -> None:
    """Predicts every frame, and writes the video with the keypoints drawn on it."""
    results, clip, begun = None, None, time.perf_counter()
    try:
      with (
        videos.reading(query.path) as video,
        self.pictures.video(number, query.name, video.rate) as draw,
      ):
        results = ClipResults(query.name, float(video.rate))
        parts = self.frames.start, self.frames.stop, self.frames.step
        chosen = itertools.islice(enumerate(video.frames), *parts)
        count = len(range(*self.frames.indices(video.count))) or None
        bar = tqdm(chosen, query.name, count, unit="frame", disable=None)
        for place, frame in bar:
          clip = clip or self._clip(query, frame.pixels)
          since = frame.time - results.times[-1] if results.times else 0.0
          found, identities = self._follow(
            clip, query, place, frame.pixels, since * float(video.rate)
          )
          size: tuple[int, int] = frame.pixels.shape[1::-1]
          given = self._boxes(query, frame.pixels)
          self.files.add(
            query.name, size, found, (place, frame.time),
            boxes=given, identities=identities,
          )  # fmt: skip
          results.add(place, frame.time, identities, found, self.files.kept(found))
          since = frame.time - results.times[0]
          draw(self._marks(query, frame.pixels, found, identities), since)
        if not results.times:
          raise ValueError(f"{query.name}: has none of the frames that were asked for")
    except (ValueError, OSError) as error:
      is_begun = results is not None and results.times
      self.problems[CUT if is_begun else LOST].append(str(error))
    if results is not None and results.times and clip is not None:
      self._finish(results, clip, time.perf_counter() - begun)

  def _clip(self, query: Query, image: np.ndarray) -> Clip:
    given = self._boxes(query, image)
    objects = self.objects if given is None else len(given)
    return Clip(self.detector, self.support, objects, given)

  def _follow(
    self, clip: Clip, query: Query, place: int, image: np.ndarray, interval: float
  ) -> tuple[Prediction, np.ndarray]:
    """Returns the objects of the next frame of a video, and their identities."""
    label = f"{query.name}, frame {place}"
    arrays = self.journal.step(
      label, lambda: clip.look(image, interval, label).arrays()
    )
    sighting = Sighting.of(arrays, self.support.names)
    identities = clip.add(sighting, interval)
    found = sighting.found[identities > 0]
    return found.of_types(self.names), identities[identities > 0]

  def _finish(self, results: ClipResults, clip: Clip, seconds: float) -> None:
    """Reports a video, and writes its smoothed keypoints."""
    report = results.report(clip.searches)
    self.reports.append(report)
    if self.smooth:
      table = self.folder / files.SMOOTHED
      files.write_smoothed(table, self.names, results)
    count, objects = report["frames"], report["objects"]
    spans = [span for x in objects for span in x["low_confidence"]]
    low = sum((b - a) // (self.frames.step or 1) + 1 for a, b in spans)
    jumps = sum(len(x["jumps"]) for x in objects)
    self.speeds.append(
      f"{results.name}: {count} frames, {count / seconds:.1f} a second; "
      f"{clip.searches} were searched, the others followed {len(objects)} "
      f"object{'s' * (len(objects) != 1)}; {low} with low confidence, {jumps} jumps"
    )

  def _marks(
    self,
    query: Query,
    image: np.ndarray,
    found: Prediction,
    identities: Sequence[int] | np.ndarray | None = None,
  ) -> Marks:
    """Returns the marks of an image; several objects are numbered."""
    found = files.inside(found, image.shape[1::-1])
    kept = self.files.kept(found)
    labels = [*range(1, len(found) + 1)] if identities is None else identities
    several = self.objects != 1 or len(found) > 1
    marks = [
      Marks(
        title=query.name,
        image=image,
        keypoints=found.keypoints[row],
        filled=kept[row],
        covariance=found.covariance[row],
        skeleton=self.skeleton,
        label=str(labels[row]) * several,
        box=tuple(found.box[row].tolist()),
      )
      for row in range(len(found))
    ]
    if not marks:
      n = len(self.names)
      return Marks(query.name, image, np.full((n, 2), np.nan), np.zeros(n, bool))
    return marks[0]._replace(others=tuple(marks[1:]))

  def _boxes(self, query: Query, pixels: np.ndarray) -> Boxes | None:
    if self.boxes is None:
      return [(0, 0, *pixels.shape[1::-1])]
    return self.boxes.get(query.path)


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
  """Yields lists of items; an error is raised only after the items before it."""
  batch, failure = [], None
  iterator = iter(items)
  while failure is None:
    try:
      batch.append(next(iterator))
    except Exception as error:  # including StopIteration
      failure = error
    if batch and (failure or len(batch) == size):
      yield batch
      batch = []
  if not isinstance(failure, StopIteration):
    raise failure
