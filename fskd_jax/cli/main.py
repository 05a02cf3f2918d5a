"""The `fskd` command; each sub-command is a file of `fskd_jax.cli`."""

import argparse
import gc
import sys
from collections.abc import Sequence

import fskd_jax
from fskd_jax.cli.lazy import add_commands

_ROOM = "fskd_jax.cli."
COMMANDS = {
  "predict": (
    _ROOM + "predict:add_arguments",
    "find keypoints in your own images and videos",
  ),
  "train": (
    _ROOM + "train:add_arguments",
    "train the package's detector on your own labels",
  ),
  "demo": (
    _ROOM + "demo:add_arguments",
    "mark, find and correct keypoints on a local web page",
  ),
  "doctor": (
    _ROOM + "doctor:add_arguments",
    "examine the devices and hosts of a run",
  ),
  "adapt": (
    _ROOM + "adapt:add_arguments",
    "adapt the package's detector to 1 to 50 labelled images",
  ),
  "suggest": (
    _ROOM + "suggest:add_arguments",
    "name the frames that are most worth labelling next",
  ),
  "data": (_ROOM + "data:add_arguments", "prepare, check and convert data sets"),
  "configs": (_ROOM + "configs:add_arguments", "list and copy configuration files"),
  "export": (_ROOM + "export:add_arguments", "write a run's detector to a file"),
  "import": (
    _ROOM + "import_weights:add_arguments",
    "make a run from a file of weights",
  ),
  "weights": (
    _ROOM + "weights:add_arguments",
    "list, get and find published weights of encoders",
  ),
  "plot": (
    _ROOM + "plot:add_arguments",
    "draw runs, their data and their models",
  ),
  "report": (
    _ROOM + "report:add_arguments",
    "write a run's report and model card",
  ),
  "compare-runs": (
    _ROOM + "compare_runs:add_arguments",
    "test which of two evaluated runs is better",
  ),
  "compare": (
    _ROOM + "compare:add_arguments",
    "compare the weights and outputs of two detectors",
  ),
  "parameters": (
    _ROOM + "parameters:add_arguments",
    "count a configuration's parameters",
  ),
  "mp100": (_ROOM + "mp100:add_arguments", "evaluate a run on MP-100"),
  "experiment": (
    _ROOM + "experiment:add_arguments",
    "reproduce the papers' experiments",
  ),
  "completion": (
    _ROOM + "completion:add_arguments",
    "print what makes a shell complete the words of fskd",
  ),
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sub-command.

  Returns:
    The exit status; 2 after a user error, reported in one line.
  """
  args = make_parser().parse_args(argv)
  _prepare()
  try:
    return args.run(args)
  except (ValueError, OSError, ImportError) as error:
    print(f"fskd: {error}", file=sys.stderr)
    return 2


def make_parser() -> argparse.ArgumentParser:
  """Returns the parser of `fskd`; sub-commands declare their arguments on use."""
  parser = argparse.ArgumentParser(
    prog="fskd", description="Finds keypoints from a few annotated images."
  )
  parser.add_argument("--version", action="version", version=fskd_jax.__version__)
  add_commands(parser, COMMANDS)
  return parser


def _prepare() -> None:
  gc.set_threshold(10_000, 20, 20)  # what JAX traces is no garbage: a tenth of a start
  from absl import logging as absl_logging

  from fskd_jax.device import compilation_cache

  absl_logging.set_verbosity(absl_logging.ERROR)  # orbax logs every operation
  compilation_cache.enable()
