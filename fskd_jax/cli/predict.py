"""fskd predict: finds the keypoints marked on support images in your own images.

Exit status: 0; 1 if a query could not be read completely or drawn (the others were
predicted); 2 for an error that stopped the command. Results are written as they are
made, so that those made before an error are kept.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from fskd_jax.cli.arguments import probability
from fskd_jax.pictures.predictions import Marks
from fskd_jax.prediction import files as prediction_files
from fskd_jax.prediction import photographs, videos
from fskd_jax.prediction.detector import (
  QUERY_BATCH,
  KeypointDetector,
  Prediction,
  Support,
)
from fskd_jax.prediction.files import PredictionFiles
from fskd_jax.prediction.inputs import Query, gather_queries, read_boxes, read_supports
from fskd_jax.prediction.keypoint_files import Marked
from fskd_jax.prediction.load import load
from fskd_jax.prediction.pictures import OVERLAYS, Pictures, support_marks
from fskd_jax.prediction.support_points import checked_box

T = TypeVar("T")

LEAST_SIDE = 8
"""Smallest side of a query image, pixels."""

UNLIKE = 0.3
"""Median confidence below which the summary warns that the images are unlike those
that the detector was trained on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--weights", help=".safetensors file of fskd export")
  parser.add_argument(
    "--support", nargs="+", required=True, metavar="IMAGE", help="annotated images"
  )
  parser.add_argument(
    "--keypoints",
    nargs="+",
    required=True,
    metavar="FILE",
    help="one file per support image, or one for all: {name: [x, y]} JSON, COCO JSON, "
    "or a file of DeepLabCut, lightning-pose, SLEAP, LabelMe, Label Studio or CVAT",
  )
  parser.add_argument(
    "--query",
    nargs="+",
    required=True,
    metavar="IMAGE",
    help="images, folders, 'patterns*.jpg' or videos",
  )
  where = parser.add_mutually_exclusive_group()
  where.add_argument(
    "--boxes",
    metavar="FILE",
    help="JSON {file name: [x, y, width, height]} of the object in each query image; "
    "without it the object is located automatically",
  )
  where.add_argument(
    "--whole-images",
    action="store_true",
    help="skip the search because the objects fill the query images (10x faster)",
  )
  parser.add_argument(
    "--out", required=True, help="folder for the results, which must not hold others"
  )
  parser.add_argument(
    "--min-confidence",
    type=probability,
    default=0.5,
    metavar="P",
    help="least confidence; keypoints below it are rings in the pictures and have "
    "v = 0 in predictions.json (%(default)s)",
  )
  parser.set_defaults(run=run)


class _Session(NamedTuple):
  """The common state of the predictions for all queries.

  Attributes:
    skeleton: Pairs of keypoint numbers.
    boxes: The box of the object by path of the query; None if objects fill the images.
    problems: A sentence per query that has a problem, by kind of problem.
  """

  detector: KeypointDetector
  support: Support
  skeleton: list[tuple[int, int]]
  boxes: dict[pathlib.Path, tuple[float, ...]] | None
  files: PredictionFiles
  pictures: Pictures
  problems: dict[str, list[str]]


_LOST, _CUT, _BARE = "not predicted", "predicted in part", "no picture"
"""Kinds of problems."""


def run(args: argparse.Namespace) -> int:
  """Predicts the queries, and writes files and pictures."""
  logging.basicConfig(format="%(message)s")
  queries = gather_queries(args.query)
  if any(map(_is_video, queries)):
    videos.require()
  boxes = None if args.whole_images else {}
  if args.boxes:
    boxes = read_boxes(args.boxes, queries)
  out = prediction_files.new_folder(pathlib.Path(args.out), [OVERLAYS])
  marked = read_supports(args.support, args.keypoints)
  detector = load(args.workdir or args.weights)
  support = detector.support(
    [path for path, _ in marked],
    [found.keypoints for _, found in marked],
    [found.box for _, found in marked],
  )
  skeleton = _skeleton(marked, support.names)
  shown = [support_marks(*pair, support.names, skeleton) for pair in marked]
  problems: dict[str, list[str]] = {_LOST: [], _CUT: [], _BARE: []}
  pictures = Pictures(out, shown, support.names, problems[_BARE].append)
  with PredictionFiles(out, support.names, args.min_confidence) as files:
    session = _Session(detector, support, skeleton, boxes, files, pictures, problems)
    numbered = [*enumerate(queries, 1)]
    _predict_images(session, [pair for pair in numbered if not _is_video(pair[1])])
    for number, query in numbered:
      if _is_video(query):
        _predict_video(session, number, query)
  return _report(session, len(queries), args.min_confidence, out)


def _is_video(query: Query) -> bool:
  return query.path.suffix.lower() in videos.SUFFIXES


def _skeleton(
  marked: Sequence[tuple[pathlib.Path, Marked]], names: Sequence[str]
) -> list[tuple[int, int]]:
  pairs = dict.fromkeys(pair for _, found in marked for pair in found.skeleton)
  return [(names.index(a), names.index(b)) for a, b in pairs]


def _predict_images(session: _Session, queries: Sequence[tuple[int, Query]]) -> None:
  """Predicts images in batches of readable ones, and draws their pictures."""
  bar = tqdm(None, "predicting", len(queries), unit="image", disable=None)

  def readable() -> Iterator[tuple[int, Query, np.ndarray]]:
    for number, query in queries:
      try:
        yield number, query, _read(session, query)
      except (ValueError, OSError) as error:
        session.problems[_LOST].append(str(error))
        bar.update()

  with bar:
    for batch in _batched(readable(), QUERY_BATCH):
      pixels = [x for _, _, x in batch]
      boxes = [_box(session, query, x) for _, query, x in batch]
      found = session.detector.predict(session.support, pixels, boxes)
      for (number, query, image), single, box in zip(batch, _singles(found), boxes):
        marks = _add(session, query, image, single, box)
        session.pictures.add(number, marks, single.confidence[0])
        bar.update()
  session.pictures.finish()


def _read(session: _Session, query: Query) -> np.ndarray:
  """Returns the pixels of a query image, checked for prediction.

  Raises:
    FileNotFoundError, ValueError: The image cannot be read or is too small, or its box
      is outside; the message names it.
  """
  image = photographs.read(query.path, str(query.path))
  height, width = image.shape[:2]
  if min(width, height) < LEAST_SIDE:
    raise ValueError(
      f"{query.path}: {width} x {height} pixels, expected {LEAST_SIDE} x {LEAST_SIDE} "
      "at least"
    )
  checked_box(_box(session, query, image), (width, height), str(query.path))
  return image


def _predict_video(session: _Session, number: int, query: Query) -> None:
  """Predicts every frame, and writes the video with its keypoints."""
  predicted = 0
  try:
    with (
      videos.reading(query.path) as video,
      session.pictures.video(number, query.name, video.rate) as draw,
    ):
      frames = tqdm(
        video.frames, query.name, video.count or None, unit="frame", disable=None
      )
      for batch in _batched(frames, QUERY_BATCH):
        boxes = [_box(session, query, frame) for frame in batch]
        found = session.detector.predict(session.support, batch, boxes)
        for frame, single, box in zip(batch, _singles(found), boxes):
          draw(_add(session, query, frame, single, box, predicted))
          predicted += 1
  except (ValueError, OSError) as error:
    session.problems[_CUT if predicted else _LOST].append(str(error))


def _add(
  session: _Session,
  query: Query,
  image: np.ndarray,
  single: Prediction,
  box: tuple[float, ...] | None,
  frame: int | None = None,
) -> Marks:
  """Adds a prediction to the files, and returns the marks to draw."""
  size: tuple[int, int] = image.shape[1::-1]
  session.files.add(query.name, size, single, frame, box)
  single = prediction_files.inside(single, size)
  return Marks(
    title=query.name,
    image=image,
    keypoints=single.keypoints[0],
    filled=session.files.kept(single)[0],
    covariance=single.covariance[0],
    skeleton=session.skeleton,
  )


def _box(
  session: _Session, query: Query, pixels: np.ndarray
) -> tuple[float, ...] | None:
  if session.boxes is None:
    return (0, 0, *pixels.shape[1::-1])
  return session.boxes.get(query.path)


def _singles(found: Prediction) -> Iterator[Prediction]:
  for i in range(len(found.keypoints)):
    part = slice(i, i + 1)
    yield found._replace(
      keypoints=found.keypoints[part],
      confidence=found.confidence[part],
      covariance=found.covariance[part],
    )


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
  """Yields lists of items; an error of the iterator is raised after the last list."""
  batch, failure = [], None
  iterator = iter(items)
  while failure is None:
    try:
      batch.append(next(iterator))
    except Exception as error:  # also the end
      failure = error
    if batch and (failure or len(batch) == size):
      yield batch
      batch = []
  if not isinstance(failure, StopIteration):
    raise failure


def _report(session: _Session, count: int, least: float, out: pathlib.Path) -> int:
  """Prints the problems and a summary; returns the exit status."""
  for kind, problems in session.problems.items():
    for problem in problems:
      print(f"{kind}: {problem}", file=sys.stderr)
  predicted = count - len(session.problems[_LOST])
  confidences = session.files.confidences()
  told = f"{out}: {predicted} of {count} queries predicted"
  if len(confidences):
    above, median = int((confidences >= least).sum()), np.median(confidences)
    told += (
      f", {above} of {len(confidences)} keypoints above {least:g} "
      f"(median confidence {median:.2f})"
    )
    if median < UNLIKE and session.detector.calibration is not None:
      told += (
        ". These images are unlike those that the detector was trained on: "
        "docs/prediction.md#confidence"
      )
  print(told)
  return 1 if any(session.problems.values()) else 0
