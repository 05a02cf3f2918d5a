"""fskd experiment: the papers' experiments, each from one command to its report."""

import argparse

from fskd_jax.commands import (
  experiment_ablation,
  experiment_proposition1,
  experiment_shots,
)

EXPERIMENTS = (experiment_proposition1, experiment_ablation, experiment_shots)
"""Each has `add_parser(experiments)`, as `cli` describes it."""


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "experiment", help="repeat the papers' experiments", description=__doc__
  )
  experiments = parser.add_subparsers(metavar="EXPERIMENT", required=True)
  for experiment in EXPERIMENTS:
    experiment.add_parser(experiments)
