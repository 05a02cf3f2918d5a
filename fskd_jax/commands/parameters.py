"""fskd parameters: how many numbers each part of a detector learns."""

import argparse

import jax

from fskd_jax.commands.source import load_config
from fskd_jax.models.detector import FewShotDetector, count_parameters, init_variables


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "parameters", help="count a configuration's parameters", description=__doc__
  )
  parser.add_argument("--config", required=True, help="experiment file")
  parser.add_argument(
    "--kernel-sizes", type=int, nargs="+", help="instead of the configuration's"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Counts, without making any parameter."""
  cfg = load_config(args.config)
  if args.kernel_sizes:
    cfg.model.kernel_sizes = tuple(args.kernel_sizes)
  detector = FewShotDetector(cfg.model, cfg.data.image_size)
  params = jax.eval_shape(lambda: init_variables(detector, seed=0))["params"]
  for name, part in params.items():
    print(f"{name:24s}{count_parameters(part):14,d}")
  total = count_parameters(params)
  print(f"{'total':24s}{total:14,d}   {total / 1e6:.2f} M")
  return 0
