"""fskd experiment: the papers' experiments, each from one command to its report."""

import argparse

from fskd_jax.cli.experiment import ablation, proposition1, shots

EXPERIMENTS = (proposition1, ablation, shots)
"""Each has `add_parser(experiments)`, as `cli` describes it."""


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "experiment", help="repeat the papers' experiments", description=__doc__
  )
  experiments = parser.add_subparsers(metavar="EXPERIMENT", required=True)
  for experiment in EXPERIMENTS:
    experiment.add_parser(experiments)
