"""fskd predict: finds the keypoints marked on support images in your own images.

Exit status: 0, 1 if a query could not be read (the others were predicted), 2 for an
error that stopped it.
"""

import argparse
import itertools
import logging
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from fskd_jax.files import written_whole
from fskd_jax.pictures.predictions import (
  THUMBNAIL,
  Marks,
  draw_contact_sheet,
  draw_marks,
  draw_prediction,
)
from fskd_jax.prediction import photographs, videos
from fskd_jax.prediction.detector import (
  QUERY_BATCH,
  KeypointDetector,
  Prediction,
  Support,
)
from fskd_jax.prediction.files import PredictionFiles
from fskd_jax.prediction.inputs import find_queries, read_boxes, read_supports
from fskd_jax.prediction.keypoint_files import Marked
from fskd_jax.prediction.load import load

T = TypeVar("T")

SHEET = 30
"""Images per contact sheet."""


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
    "default: it is searched for",
  )
  where.add_argument(
    "--whole-images",
    action="store_true",
    help="objects fill the query images: no search, a tenth of the time",
  )
  parser.add_argument("--out", required=True, help="folder for the results")
  parser.add_argument(
    "--min-confidence",
    type=float,
    default=0.5,
    help="keypoints below are rings in the pictures and left out of the files "
    "(%(default)s)",
  )
  parser.set_defaults(run=run)


class _Session(NamedTuple):
  """What the work on every query needs.

  Attributes:
    shown: the support images, for the pictures.
    skeleton: pairs of keypoint numbers.
    whole_images: objects fill their images.
    problems: one sentence for every query that could not be read.
  """

  detector: KeypointDetector
  support: Support
  shown: list[Marks]
  skeleton: list[tuple[int, int]]
  boxes: dict[str, tuple[float, ...]]
  whole_images: bool
  files: PredictionFiles
  out: pathlib.Path
  problems: list[str]


def run(args: argparse.Namespace) -> int:
  """Predicts."""
  logging.basicConfig(format="%(message)s")
  queries = [path for item in args.query for path in find_queries(item)]
  clips = [path for path in queries if path.suffix.lower() in videos.SUFFIXES]
  if clips:
    videos.require()
  marked = read_supports(args.support, args.keypoints)
  detector = load(args.workdir or args.weights)
  support = detector.support(
    [path for path, _ in marked],
    [found.keypoints for _, found in marked],
    [found.box for _, found in marked],
  )
  out = pathlib.Path(args.out)
  (out / "overlays").mkdir(parents=True, exist_ok=True)
  skeleton = _skeleton(marked, support.names)
  session = _Session(
    detector=detector,
    support=support,
    shown=[_support_marks(*pair, support.names, skeleton) for pair in marked],
    skeleton=skeleton,
    boxes=read_boxes(args.boxes) if args.boxes else {},
    whole_images=args.whole_images,
    files=PredictionFiles(support.names, args.min_confidence),
    out=out,
    problems=[],
  )
  _predict_images(session, [(i, p) for i, p in enumerate(queries, 1) if p not in clips])
  for number, path in enumerate(queries, 1):
    if path in clips:
      try:
        _predict_video(session, number, path)
      except (ValueError, OSError) as error:
        session.problems.append(str(error))
  session.files.write(out)
  return _report(session, len(queries))


def _skeleton(
  marked: Sequence[tuple[pathlib.Path, Marked]], names: Sequence[str]
) -> list[tuple[int, int]]:
  pairs = dict.fromkeys(pair for _, found in marked for pair in found.skeleton)
  return [(names.index(a), names.index(b)) for a, b in pairs]


def _support_marks(
  path: pathlib.Path,
  found: Marked,
  names: Sequence[str],
  skeleton: Sequence[tuple[int, int]],
) -> Marks:
  points = [found.keypoints.get(name) or (np.nan, np.nan) for name in names]
  return Marks(
    title=path.name,
    image=photographs.read(path, str(path)),
    keypoints=np.array(points, float),
    filled=np.ones(len(names), bool),
    skeleton=skeleton,
  )


def _predict_images(
  session: _Session, queries: Sequence[tuple[int, pathlib.Path]]
) -> None:
  """Predicts images, a batch of readable ones at a time, with their pictures."""

  def readable() -> Iterator[tuple[int, pathlib.Path, np.ndarray]]:
    for number, path in tqdm(queries, "predicting", unit="image", disable=not queries):
      try:
        yield number, path, photographs.read(path, str(path))
      except (ValueError, OSError) as error:
        session.problems.append(str(error))

  thumbnails = []
  for batch in _batched(readable(), QUERY_BATCH):
    pixels = [x for _, _, x in batch]
    boxes = [_box(session, path, x) for _, path, x in batch]
    found = session.detector.predict(session.support, pixels, boxes)
    for (number, path, pixels), single in zip(batch, _singles(found)):
      session.files.add(number, path.name, single)
      marks = _query_marks(session, path.name, pixels, single)
      picture = draw_prediction(
        session.shown, marks, session.support.names, single.confidence[0]
      )
      name = f"{number:04d}_{path.stem}.jpg"
      picture.save(session.out / "overlays" / name, quality=92)
      if len(queries) > 1:
        thumbnails.append(
          (path.name, draw_marks(marks._replace(covariance=None), THUMBNAIL))
        )
  for sheet, pictures in enumerate(_batched(thumbnails, SHEET), 1):
    draw_contact_sheet(pictures).save(session.out / f"contact_sheet_{sheet}.png")


def _predict_video(session: _Session, number: int, path: pathlib.Path) -> None:
  """Predicts every frame, and writes the video with the keypoints drawn on it."""
  with (
    videos.reading(path) as video,
    written_whole(session.out / f"{number:04d}_{path.stem}.mp4") as unfinished,
    videos.writing(unfinished, video.rate) as add_frame,
  ):
    frames = tqdm(video.frames, path.name, video.count or None, unit="frame")
    place = itertools.count()
    for batch in _batched(frames, QUERY_BATCH):
      boxes = [_box(session, path, frame) for frame in batch]
      found = session.detector.predict(session.support, batch, boxes)
      for frame, single in zip(batch, _singles(found)):
        session.files.add(number, path.name, single, next(place))
        marks = _query_marks(session, path.name, frame, single)
        drawn = draw_marks(marks._replace(covariance=None), max(frame.shape))
        add_frame(np.asarray(drawn))


def _box(
  session: _Session, path: pathlib.Path, pixels: np.ndarray
) -> tuple[float, ...] | None:
  if session.whole_images:
    return (0, 0, *pixels.shape[1::-1])
  return session.boxes.get(path.name)


def _query_marks(
  session: _Session, title: str, pixels: np.ndarray, single: Prediction
) -> Marks:
  return Marks(
    title=title,
    image=pixels,
    keypoints=single.keypoints[0],
    filled=session.files.kept(single)[0],
    covariance=single.covariance[0],
    skeleton=session.skeleton,
  )


def _singles(found: Prediction) -> Iterator[Prediction]:
  for i in range(len(found.keypoints)):
    part = slice(i, i + 1)
    yield Prediction(
      found.keypoints[part], found.confidence[part], found.covariance[part], found.names
    )


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
  iterator = iter(items)
  while batch := list(itertools.islice(iterator, size)):
    yield batch


def _report(session: _Session, count: int) -> int:
  print(f"{session.out}: {count - len(session.problems)} of {count} queries predicted")
  for problem in session.problems:
    print(f"not predicted: {problem}", file=sys.stderr)
  return 1 if session.problems else 0
