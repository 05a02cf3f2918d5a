"""fskd suggest: names the frames that are most worth labelling next.

Frames are predicted with the labels as support. Those are suggested that the detector
is least sure of and that look unlike all that is labelled or suggested already. OUT
gets the list (suggestions.json, suggestions.csv), contact_sheet.png, and the predicted
points as files to correct in Label Studio, CVAT, SLEAP (needs sleap-io) and DeepLabCut.

  fskd suggest --data labels --frames frames --number 20 --out next
"""

import argparse
import logging
import os

from tqdm import tqdm

from fskd_jax.cli.arguments import add_detector, detector_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--data", required=True, help="file or folder of labels")
  parser.add_argument(
    "--frames",
    required=True,
    nargs="+",
    help="images and folders of images to choose from; labelled ones are passed over",
  )
  parser.add_argument("--out", required=True, help="new folder for the results")
  parser.add_argument(
    "--number",
    type=int,
    default=20,
    help="how many frames to suggest (%(default)s)",
  )
  add_detector(parser)
  place = parser.add_mutually_exclusive_group()
  place.add_argument(
    "--boxes", help="JSON file {file name: [x, y, width, height]} of the objects"
  )
  place.add_argument(
    "--whole-images",
    action="store_true",
    help="objects fill the frames: nothing is searched for, which is ten times faster",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Suggests frames, and prints the list."""
  logging.basicConfig(format="%(message)s", level=logging.WARNING)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  from fskd_jax.own_labels import suggesting

  found = suggesting.suggest(
    args.data,
    args.frames,
    args.out,
    number=args.number,
    detector=detector_path(args),
    boxes=args.boxes,
    whole_images=args.whole_images,
    progress=lambda frames: tqdm(frames, "looking", unit="frame", disable=None),
  )
  for number, frame in enumerate(found, 1):
    print(f"{number:3d}  {frame.query.name}  confidence {frame.confidence:.0%}")
  why = ", as there are no others but copies" if len(found) < args.number else ""
  print(f"{len(found)} frames to label next{why}: {args.out}")
  return 0
