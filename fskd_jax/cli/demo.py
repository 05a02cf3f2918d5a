"""fskd demo: serves a web page to mark keypoints and find them in other pictures.

It needs the extra `demo`. The page loads nothing from other servers and sends nothing
to them; uploaded pictures are removed when the command ends (Ctrl-C).
"""

import argparse
import importlib.util
import logging
import os
import pathlib
import signal
import tempfile

from fskd_jax.cli.arguments import add_detector, detector_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  add_detector(parser)
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen on; other addresses than %(default)s admit other machines",
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
  if importlib.util.find_spec("gradio") is None:
    raise ImportError(
      "the demo needs gradio: pip install -e '.[demo]' in the clone of fskd_jax"
    )
  logging.basicConfig(format="%(message)s")
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
  with tempfile.TemporaryDirectory(prefix="fskd_demo_") as folder:
    os.environ.update(  # gradio reads them when it is imported
      GRADIO_ANALYTICS_ENABLED="False",
      GRADIO_TEMP_DIR=folder,
      HF_HUB_OFFLINE="1",
    )
    _serve(args, pathlib.Path(folder))
  return 0


def _serve(args: argparse.Namespace, folder: pathlib.Path) -> None:
  from fskd_jax.demo import examples, server
  from fskd_jax.prediction.load import load

  detector = load(detector_path(args))
  example = examples.make(detector.config.data)
  place = server.Place(args.host, args.port, folder, args.max_upload)
  blocks = server.launch(detector, example, place)
  print(f"fskd demo: http://{args.host}:{args.port} (Ctrl-C ends it)", flush=True)
  blocks.block_thread()
