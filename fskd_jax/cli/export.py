"""fskd export: writes a trained detector to a file, for PyTorch or for JAX."""

import argparse
import json

from fskd_jax import config
from fskd_jax.few_shot import calibration
from fskd_jax.interop import state_dicts
from fskd_jax.interop.stablehlo import Sizes, write_stablehlo
from fskd_jax.interop.weights import halved, write_weights
from fskd_jax.models.build import count_parameters
from fskd_jax.training.runs import load_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--workdir", required=True, help="folder of the run")
  parser.add_argument(
    "--out", required=True, help=".safetensors or .pth; .zip for stablehlo"
  )
  parser.add_argument(
    "--format",
    choices=("weights", "stablehlo"),
    default="weights",
    help="weights: a state dict for the original code; stablehlo: a compiled program "
    "(jax.export)",
  )
  parser.add_argument(
    "--half",
    action="store_true",
    help="bfloat16 instead of float32: half the size of a .safetensors file",
  )
  fixed = parser.add_argument_group("fixed sizes of stablehlo")
  fixed.add_argument("--shots", type=int, default=1, help="support images")
  fixed.add_argument("--queries", type=int, default=1, help="query images")
  fixed.add_argument("--keypoints", type=int, default=17, help="keypoint types")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes the file, and prints a summary."""
  if args.half and not args.out.endswith(".safetensors"):
    raise ValueError(f"--half: expected a --out that ends in .safetensors: {args.out}")
  model, step = load_run(args.workdir)
  calibrated = calibration.load(args.workdir)
  if calibrated is not None and calibrated.step != step:
    calibrated = None  # of another checkpoint
  if args.format == "stablehlo":
    if model.config.task == "pose":
      raise ValueError("--format stablehlo is for few-shot detectors; export weights")
    sizes = Sizes(args.shots, args.queries, args.keypoints)
    prior = calibrated and calibrated.prior
    write_stablehlo(args.out, model.config, model.variables, sizes, prior)
  else:
    tensors = state_dicts.state_dict(model.variables, model.config)
    if args.half:
      tensors = halved(tensors)
    about = {"config": json.dumps(config.to_dict(model.config)), "step": str(step)}
    if calibrated is not None:
      about["calibration"] = calibration.to_json(calibrated)
    write_weights(args.out, tensors, about)
  count = count_parameters(model.variables["params"])
  print(f"{args.out}: {model.config.name}, step {step}, {count:,} parameters")
  return 0
