"""fskd plot: an episode as the network sees it, and heat-maps of a prediction."""

import argparse
import pathlib

from fskd_jax.analysis import inspection
from fskd_jax.analysis.inspection import TRAINING
from fskd_jax.cli.arguments import add_detector, detector_path
from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.config import Config
from fskd_jax.pictures import network
from fskd_jax.prediction import photographs
from fskd_jax.prediction.inputs import read_supports
from fskd_jax.prediction.load import load
from fskd_jax.training.runs import load_config, load_run

MAX_ROWS = 8
"""Largest number of keypoint types in a picture of heat-maps, unless they are named."""


def add_episode(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot episode`."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--config", help="configuration file, if there is no run yet")
  parser.add_argument(
    "--setting",
    default=TRAINING,
    help="train, or a setting of the evaluation as unseen/base (%(default)s)",
  )  # fmt: skip
  parser.add_argument(
    "--index", type=int, default=0, help="number of the episode (%(default)s)"
  )
  add_out(parser)
  parser.set_defaults(run=_run_episode)


def add_heatmaps(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot heatmaps`."""
  add_detector(parser)
  parser.add_argument("--support", nargs="+", required=True, metavar="IMAGE")
  parser.add_argument(
    "--keypoints", nargs="+", required=True, metavar="FILE", help="as for fskd predict"
  )
  parser.add_argument("--query", required=True, metavar="IMAGE")
  parser.add_argument(
    "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"),
    help="box of the object in the query, pixels; default: located automatically",
  )  # fmt: skip
  parser.add_argument(
    "--names", nargs="+", metavar="NAME",
    help=f"keypoint types; default: the first {MAX_ROWS}",
  )  # fmt: skip
  add_out(parser)
  parser.set_defaults(run=_run_heatmaps)


def _run_episode(args: argparse.Namespace) -> int:
  cfg = load_run(args.workdir)[0].config if args.workdir else load_config(args.config)
  if cfg.task != "few_shot":
    raise ValueError(f"{cfg.name} is of the task {cfg.task!r}, which has no episodes")
  shown = inspection.episode_input(cfg, args.setting, args.index)
  heading = f"{cfg.name}, {args.setting}, episode {args.index}"
  return save(network.draw_episode(shown, heading), args.out)


def _run_heatmaps(args: argparse.Namespace) -> int:
  supports = read_supports(args.support, args.keypoints)
  detector = load(detector_path(args))
  query = photographs.read(args.query, args.query)
  seen = inspection.query_views(
    detector, supports, query, box=args.box, names=args.names, most=MAX_ROWS
  )
  heading = (
    f"{detector.config.name}, {pathlib.Path(args.query).name}; white: the highest "
    "tenth of a heat-map's range; kernels: norms of the taps"
  )
  kernels = _kernel_names(detector.config)
  return save(network.draw_heatmaps(seen.rows, seen.crop, kernels, heading), args.out)


def _kernel_names(cfg: Config) -> list[str]:
  model = cfg.model
  return [
    f"kernel {size} x {size}, stride {stride}"
    for stride in model.strides
    for size in model.kernel_sizes
  ]
