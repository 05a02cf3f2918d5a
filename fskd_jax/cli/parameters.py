"""fskd parameters: counts the parameters of each part of a model."""

import argparse

import jax

from fskd_jax.models import cost, detector, transpose
from fskd_jax.models.build import count_parameters, make_model
from fskd_jax.models.transpose import TransPose
from fskd_jax.training.runs import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--config", required=True, help="configuration file")
  parser.add_argument(
    "--kernel-sizes", type=int, nargs="+", help="default: those of the configuration"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Counts the parameters without allocating any."""
  cfg = load_config(args.config)
  if args.kernel_sizes:
    cfg.model.kernel_sizes = tuple(args.kernel_sizes)
  model = make_model(cfg)
  if isinstance(model, TransPose):
    variables = jax.eval_shape(lambda: transpose.init_variables(model, seed=0))
  else:
    variables = jax.eval_shape(lambda: detector.init_variables(model, seed=0))
  params = variables["params"]
  for name, part in params.items():
    print(f"{name:24s}{count_parameters(part):14,d}")
  total = count_parameters(params)
  print(f"{'total':24s}{total:14,d}   {total / 1e6:.2f} M")
  if isinstance(model, TransPose):
    _print_published(model)
  return 0


def _print_published(model: TransPose) -> None:
  print(f"{'as published':24s}{cost.published_parameters(model):14,d}")
  kinds = cost.multiply_adds(model)
  print(f"multiply-adds for one image of {model.image_size} (height, width):")
  for kind, count in (kinds | {"total": sum(kinds.values())}).items():
    print(f"{kind:24s}{count:14,d}   {count / 1e9:.3f} G")
