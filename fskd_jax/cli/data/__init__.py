"""fskd data: prepares, checks and converts data sets."""

import argparse

from fskd_jax.cli.lazy import add_commands

_ROOM = "fskd_jax.cli.data."
COMMANDS = {
  "doctor": (_ROOM + "doctor:add_arguments", "check a data set"),
  "check": (_ROOM + "check:add_arguments", "find labels that are probably wrong"),
  "convert": (
    _ROOM + "convert:add_arguments",
    "convert labels of annotation tools",
  ),
  "prepare": (
    _ROOM + "prepare:add_arguments",
    "check a published data set and convert it to a COCO folder",
  ),
  "figures": (
    _ROOM + "figures:add_arguments",
    "draw persons, hands, faces, insects and fish, with keypoints",
  ),
  "game": (
    _ROOM + "game:add_arguments",
    "render animals, people and things of the game 0 A.D., with keypoints",
  ),
  "stamps": (
    _ROOM + "stamps:add_arguments",
    "compose pictures of the stamps of Tux Paint, animals with keypoints",
  ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the sub-commands."""
  add_commands(parser, COMMANDS)
