"""Predicts folders of images and videos into files and pictures.

Results are written as they come, so those before an early end are kept.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from fskd_jax.pictures.predictions import Marks
from fskd_jax.prediction import files, inputs, photographs, videos
from fskd_jax.prediction.batches import QUERY_BATCH
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.files import PredictionFiles
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.load import load
from fskd_jax.prediction.pictures import OVERLAYS, Pictures, support_marks
from fskd_jax.prediction.results import Prediction
from fskd_jax.prediction.support_points import checked_box
from fskd_jax.prediction.supports import Support

T = TypeVar("T")

LEAST_SIDE = 8
"""Shortest side of a query image, pixels."""

LOST, CUT, BARE = "not predicted", "predicted in part", "no picture"
"""Kinds of problems."""


class Summary(NamedTuple):
  """The outcome of `predict_folder`.

  Attributes:
    queries: Number of images and videos.
    problems: Sentences by kind of problem: `LOST` (could not be read), `CUT` (a video
      that ends early or is damaged), `BARE` (could not be drawn).
    confidences: Confidence of every keypoint that the support shows, 0..1.
    is_calibrated: Whether confidences are probabilities.
  """

  queries: int
  problems: dict[str, list[str]]
  confidences: Float[np.ndarray, " k"]
  is_calibrated: bool

  @property
  def predicted(self) -> int:
    """Number of queries that were predicted, at least in part."""
    return self.queries - len(self.problems[LOST])


def predict_folder(
  detector: KeypointDetector | str | os.PathLike | None,
  support: Sequence[str | os.PathLike],
  keypoints: Sequence[str | os.PathLike],
  queries: Sequence[str | os.PathLike],
  out: str | os.PathLike,
  *,
  boxes: str | os.PathLike | None = None,
  whole_images: bool = False,
  min_confidence: float = 0.5,
) -> Summary:
  """Finds the keypoints marked on support images in folders, images and videos.

    summary = predict_folder(
      "runs/faces", ["ann.jpg"], ["ann.json"], ["album", "party.mp4"], "found"
    )
    print(summary.predicted, "of", summary.queries, summary.problems)

  It writes predictions.csv row by row, predictions.json at the end, overlays/, contact
  sheets and a drawn copy of each video. A query that cannot be read is reported in the
  summary, and the others are still predicted. Progress is shown on a terminal.

  Args:
    detector: A detector, or the path that `load` takes; None is the detector that
      comes with the package.
    support: Paths of the annotated images.
    keypoints: Paths of the keypoint files, see `keypoint_files.read`: as many as
      support images, or one for all.
    queries: Images, folders of images, patterns such as "cats/*.jpg", or videos.
    out: Folder for the results, without those of an earlier run.
    boxes: JSON file {file name: [x, y, width, height]} of the object in each query
      image; the object is searched for where there is no box.
    whole_images: Whether objects fill the query images, so that nothing is searched
      for.
    min_confidence: Confidence below which keypoints are rings in the pictures and have
      v = 0 in predictions.json, 0..1.

  Raises:
    FileNotFoundError: A support image, keypoint file, query or detector is missing.
    ValueError: One of them cannot be read, or `out` holds earlier results.
    ImportError: A query is a video, and PyAV is not installed.
  """
  if boxes is not None and whole_images:
    raise ValueError("boxes: expected none with whole_images")
  gathered = inputs.gather_queries(queries)
  if any(map(_is_video, gathered)):
    videos.require()
  known = None if whole_images else {}
  if boxes is not None:
    known = inputs.read_boxes(boxes, gathered)
  folder = files.new_folder(pathlib.Path(out), [OVERLAYS])
  supports = inputs.read_supports(support, keypoints)
  if not isinstance(detector, KeypointDetector):
    detector = load(detector)
  encoded = detector.support(
    [x.image for x in supports],
    [x.marked.keypoints for x in supports],
    [x.marked.box for x in supports],
  )
  skeleton = inputs.skeleton(supports, encoded.names)
  shown = [support_marks(x, encoded.names, skeleton) for x in supports]
  problems: dict[str, list[str]] = {LOST: [], CUT: [], BARE: []}
  pictures = Pictures(folder, shown, encoded.names, problems[BARE].append)
  with PredictionFiles(folder, encoded.names, min_confidence) as written:
    session = _Session(detector, encoded, skeleton, known, written, pictures, problems)
    session.run(gathered)
  is_calibrated = detector.calibration is not None
  return Summary(len(gathered), problems, written.confidences(), is_calibrated)


@dataclasses.dataclass(frozen=True)
class _Session:
  """The state shared by all queries of a call.

  Attributes:
    detector: The detector.
    support: The keypoint types.
    skeleton: Pairs of indices of types.
    boxes: Boxes by path of the query; None if objects fill their images.
    files: The table and the COCO file.
    pictures: The overlays, sheets and videos.
    problems: Sentences by kind of problem.
  """

  detector: KeypointDetector
  support: Support
  skeleton: list[tuple[int, int]]
  boxes: dict[pathlib.Path, tuple[float, ...]] | None
  files: PredictionFiles
  pictures: Pictures
  problems: dict[str, list[str]]

  def run(self, queries: Sequence[Query]) -> None:
    """Predicts all images, then all videos."""
    numbered = [*enumerate(queries, 1)]
    self._predict_images([pair for pair in numbered if not _is_video(pair[1])])
    for number, query in numbered:
      if _is_video(query):
        self._predict_video(number, query)

  def _predict_images(self, queries: Sequence[tuple[int, Query]]) -> None:
    """Predicts images, a batch of readable ones at a time, with their pictures."""
    bar = tqdm(None, "predicting", len(queries), unit="image", disable=None)

    def readable() -> Iterator[tuple[int, Query, np.ndarray]]:
      for number, query in queries:
        try:
          yield number, query, self._read(query)
        except (ValueError, OSError) as error:
          self.problems[LOST].append(str(error))
          bar.update()

    with bar:
      for batch in _batched(readable(), QUERY_BATCH):
        boxes = [self._box(query, pixels) for _, query, pixels in batch]
        pixels = [pixels for _, _, pixels in batch]
        prediction = self.detector.predict(self.support, pixels, boxes)
        for i, (number, query, image) in enumerate(batch):
          found = prediction.of_image(i)
          marks = self._add(query, image, found, boxes[i])
          self.pictures.add(number, marks, found.confidence[0])
          bar.update()
    self.pictures.finish()

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
    checked_box(self._box(query, image), (width, height), str(query.path))
    return image

  def _predict_video(self, number: int, query: Query) -> None:
    """Predicts every frame, and writes the video with the keypoints drawn on it."""
    predicted = 0
    try:
      with (
        videos.reading(query.path) as video,
        self.pictures.video(number, query.name, video.rate) as draw,
      ):
        frames = tqdm(
          video.frames, query.name, video.count or None, unit="frame", disable=None
        )
        for batch in _batched(frames, QUERY_BATCH):
          boxes = [self._box(query, frame) for frame in batch]
          prediction = self.detector.predict(self.support, batch, boxes)
          for i, frame in enumerate(batch):
            found = prediction.of_image(i)
            draw(self._add(query, frame, found, boxes[i], predicted))
            predicted += 1
    except (ValueError, OSError) as error:
      self.problems[CUT if predicted else LOST].append(str(error))

  def _add(
    self,
    query: Query,
    image: np.ndarray,
    found: Prediction,
    box: tuple[float, ...] | None,
    frame: int | None = None,
  ) -> Marks:
    """Adds an object to the files, and returns its marks for the pictures."""
    size: tuple[int, int] = image.shape[1::-1]
    self.files.add(query.name, size, found, frame, box)
    found = files.inside(found, size)
    return Marks(
      title=query.name,
      image=image,
      keypoints=found.keypoints[0],
      filled=self.files.kept(found)[0],
      covariance=found.covariance[0],
      skeleton=self.skeleton,
    )

  def _box(self, query: Query, pixels: np.ndarray) -> tuple[float, ...] | None:
    if self.boxes is None:
      return (0, 0, *pixels.shape[1::-1])
    return self.boxes.get(query.path)


def _is_video(query: Query) -> bool:
  return query.path.suffix.lower() in videos.SUFFIXES


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
