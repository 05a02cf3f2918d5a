"""fskd demo: serves a web page to mark keypoints and find them in other pictures.

The page loads nothing from other servers and sends nothing to them. Pictures that are
added on it are kept in memory until the command ends (Ctrl-C).

  fskd demo
  fskd demo --images frames --labels frames/labels.json
"""

import argparse
import logging
import pathlib
import signal

from fskd_jax.cli.arguments import add_detector, detector_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  add_detector(parser)
  parser.add_argument(
    "--images",
    type=pathlib.Path,
    help="folder of pictures to label; without it, pictures are added on the page",
  )
  parser.add_argument(
    "--labels",
    type=pathlib.Path,
    help="COCO file (.json) of the labels of --images: read if it is there, written "
    "after every change",
  )
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen on; other addresses than %(default)s admit other machines, "
    "to --images and --labels, too",
  )
  parser.add_argument("--port", type=int, default=7860, help="port (%(default)s)")
  parser.add_argument(
    "--max-upload", type=int, default=50, help="largest upload, MB (%(default)s)"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Serves the page until it is interrupted."""
  if args.max_upload <= 0:
    raise ValueError(f"--max-upload: {args.max_upload} MB, expected more than 0")
  if args.labels and (not args.images or args.labels.suffix.lower() != ".json"):
    raise ValueError(f"--labels: {args.labels}, expected a file .json, and --images")
  logging.basicConfig(format="%(message)s")
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
  print("loading the detector ...", flush=True)
  from fskd_jax.demo.finding import Finder
  from fskd_jax.demo.gallery import Gallery
  from fskd_jax.demo.server import Server
  from fskd_jax.demo.session import Session
  from fskd_jax.prediction.load import load

  pictures = Gallery(args.images)
  finder = Finder(load(detector_path(args)))
  session = Session(finder, pictures, args.labels, detector_path(args))
  with Server(session, args.host, args.port, args.max_upload) as server:
    print(f"fskd demo: http://{args.host}:{args.port} (Ctrl-C ends it)", flush=True)
    try:
      server.serve_forever()
    except KeyboardInterrupt:
      print()
  return 0
