"""fskd import: makes a run from a file of weights, for train.py and evaluate.py."""

import argparse
import contextlib
import pathlib

from fskd_jax import config
from fskd_jax.models.build import count_parameters
from fskd_jax.training import optim
from fskd_jax.training import state as train_state
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.runs import load_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--from", dest="file", required=True, help=".safetensors or .pth")
  parser.add_argument(
    "--config", help="configuration file; default: the one in the weights"
  )
  parser.add_argument("--workdir", required=True, help="folder of the new run")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Checks the weights, then writes them as the checkpoint of step 0."""
  checkpoints = pathlib.Path(args.workdir) / "checkpoints"
  if checkpoints.is_dir() and any(checkpoints.iterdir()):
    raise ValueError(f"{args.workdir} holds checkpoints already; name a new workdir")
  cfg, variables = load_file(args.file, args.config)
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps, config.rates(cfg))
  state = train_state.init_state(variables, tx)
  with contextlib.closing(
    CheckpointStore(args.workdir, keep=cfg.train.keep_checkpoints)
  ) as checkpoints:
    checkpoints.save(0, state, config.to_dict(cfg))
  count = count_parameters(variables["params"])
  print(f"{args.workdir}: {cfg.name}, step 0, {count:,} parameters of {args.file}")
  return 0
