"""fskd data: data sets made ready."""

import argparse

from fskd_jax.cli.data import convert, doctor, prepare

COMMANDS = (convert, doctor, prepare)
"""Each has `add_parser(commands)`, as `cli` describes it."""


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser("data", help="make data sets ready", description=__doc__)
  data_commands = parser.add_subparsers(metavar="COMMAND", required=True)
  for command in COMMANDS:
    command.add_parser(data_commands)
