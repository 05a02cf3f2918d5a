"""fskd plot: pictures of runs, of their data, and of what a model looks at."""

import argparse

from fskd_jax.cli.plot import attention, features, network, runs

KINDS = (runs, network, features, attention)
"""Each has `add_parsers(kinds)`, which adds sub-commands as `cli` describes them."""


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "plot", help="draw runs, their data, and what a model looks at", description=__doc__
  )
  kinds = parser.add_subparsers(metavar="PICTURE", required=True)
  for kind in KINDS:
    kind.add_parsers(kinds)
