"""fskd predict: finds the keypoints marked on support images in your own images.

The exit status is 0, or 1 if a query could not be read to its end or drawn (the others
were predicted), or 2 for an error that stopped the command. Results are written as they
come: whatever was predicted before the end is kept.

  fskd predict --support ann.jpg --keypoints ann.json --query album --out found
  fskd predict --workdir runs/own --query clip.mp4 --out found
"""

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from fskd_jax.cli.arguments import add_detector, detector_path
from fskd_jax.prediction.thresholds import Thresholds

if TYPE_CHECKING:
  from fskd_jax.prediction.folders import Summary

UNLIKE = 0.3
"""Median confidence below which the summary warns that the images are unlike those
that the detector was trained on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  add_detector(parser)
  parser.add_argument(
    "--support",
    nargs="+",
    metavar="IMAGE",
    help="annotated images; default: the labels that a run of fskd train or adapt had",
  )
  parser.add_argument(
    "--keypoints",
    nargs="+",
    metavar="FILE",
    help="one file per support image, or one file, folder or project for all: "
    "{name: [x, y]} JSON, or labels of any tool that docs/data.md lists",
  )
  parser.add_argument(
    "--query",
    nargs="+",
    required=True,
    metavar="IMAGE",
    help="images, videos, folders of both, or 'patterns*.jpg'",
  )
  where = parser.add_mutually_exclusive_group()
  where.add_argument(
    "--boxes",
    metavar="FILE",
    help="JSON {file name: [x, y, width, height]} of the object in each query image, "
    "or the results of a detector of objects (COCO); without it the object is located "
    "automatically",
  )
  where.add_argument(
    "--whole-images",
    action="store_true",
    help="skip the search because the objects fill the query images (10x faster)",
  )
  parser.add_argument(
    "--out",
    required=True,
    help="folder for the results, without those of an earlier run",
  )
  parser.add_argument(
    "--objects",
    type=_objects,
    default=1,
    metavar="N",
    help="number of objects in an image, at most, or 'all' (%(default)s)",
  )
  parser.add_argument(
    "--frames",
    type=_frames,
    default=slice(None),
    metavar="FIRST:END:STEP",
    help="frames of videos, numbered from 0, without the END; 250:500 are the second "
    "ten seconds at 25 a second, ::5 is every fifth (default: all)",
  )
  parser.add_argument(
    "--names",
    nargs="+",
    metavar="NAME",
    help="keypoints to write, as nose,tail; the others still help to find the object "
    "(default: all that are marked)",
  )
  parser.add_argument(
    "--min-confidence",
    type=_thresholds,
    default=Thresholds(),
    metavar="P",
    help="keypoints with lower confidence are drawn as rings and have v = 0 in "
    "predictions.json; tail=0.6,0.4 is 0.6 for the tail and 0.4 for the others "
    "(%(default)s)",
  )
  parser.add_argument(
    "--smooth",
    action="store_true",
    help="write smoothed.csv, too: keypoints of videos, judged from all frames",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="go on with a run that was killed, to the same results",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Predicts, and reports what came of it; returns the exit status."""
  logging.basicConfig(format="%(message)s")
  from fskd_jax.prediction.folders import predict_folder

  summary = predict_folder(
    detector_path(args),
    args.support,
    args.keypoints,
    args.query,
    args.out,
    boxes=args.boxes,
    whole_images=args.whole_images,
    objects=args.objects,
    frames=args.frames,
    names=args.names,
    min_confidence=args.min_confidence,
    smooth=args.smooth,
    resume=args.resume,
  )
  for kind, problems in summary.problems.items():
    for problem in problems:
      print(f"{kind}: {problem}", file=sys.stderr)
  for clip in summary.clips:
    print(clip)
  print(f"{args.out}: {_last_line(summary, args.min_confidence)}")
  return 1 if any(summary.problems.values()) else 0


def _last_line(summary: "Summary", least: Thresholds) -> str:
  text = f"{summary.predicted} of {summary.queries} queries predicted"
  confidences = summary.confidences
  if summary.empty:
    text += f", nothing found in {summary.empty} of {summary.images} images"
  if not len(confidences):
    return text
  import numpy as np

  median = np.median(confidences)
  text += (
    f", {summary.kept} of {len(confidences)} keypoints above {least} "
    f"(median confidence {median:.2f})"
  )
  if median < UNLIKE and summary.is_calibrated:
    text += (
      ". These images are unlike those that the detector was trained on: "
      "docs/prediction.md#confidence"
    )
  elif summary.scope:
    text += f". {summary.scope}: docs/prediction.md#confidence"
  return text


def _objects(text: str) -> int | None:
  if text == "all":
    return None
  if not (text.isascii() and text.isdigit() and int(text) > 0):
    raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, or all")
  return int(text)


def _frames(text: str) -> slice:
  parts = text.split(":")
  is_right = 2 <= len(parts) <= 3 and all(
    not part or (part.isascii() and part.isdigit()) for part in parts
  )
  numbers = [int(part) if part else None for part in parts] if is_right else [0, 0]
  first, end, step = [*numbers, None][:3]
  if step == 0 or (end is not None and end <= (first or 0)):
    raise argparse.ArgumentTypeError(
      f"{text!r}: expected FIRST:END or FIRST:END:STEP, numbers of frames from 0, each "
      "of which may be left out, as 250:500 or ::5"
    )
  return slice(first, end, step)


def _thresholds(text: str) -> Thresholds:
  try:
    return Thresholds.parse(text)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from error
