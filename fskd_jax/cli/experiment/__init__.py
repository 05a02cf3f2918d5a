"""fskd experiment: reproduces the papers' experiments, one command each."""

import argparse

from fskd_jax.cli.lazy import add_commands

_ROOM = "fskd_jax.cli.experiment."
EXPERIMENTS = {
  "proposition1": (
    _ROOM + "proposition1:add_arguments",
    "SMD approximates MDS: a toy study",
  ),
  "sweep": (
    _ROOM + "sweep:add_arguments",
    "train and compare variants of a detector, on a grid and over seeds",
  ),
  "shots": (
    _ROOM + "shots:add_arguments",
    "accuracy over the number of support images",
  ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the experiments."""
  add_commands(parser, EXPERIMENTS, "EXPERIMENT")
