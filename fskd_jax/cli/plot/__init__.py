"""fskd plot: draws runs, their data and their models."""

import argparse

from fskd_jax.cli.lazy import add_commands

_ROOM = "fskd_jax.cli.plot."
PICTURES = {
  "curves": (
    _ROOM + "runs:add_curves",
    "training loss and validation scores of one or several runs",
  ),
  "scores": (
    _ROOM + "runs:add_scores",
    "PCK of every keypoint type and species, from an evaluation",
  ),
  "episode": (_ROOM + "network:add_episode", "an episode as the network sees it"),
  "heatmaps": (
    _ROOM + "network:add_heatmaps",
    "heat-maps and generated kernels of a prediction",
  ),
  "negatives": (
    _ROOM + "features:add_negatives",
    "sampled negatives over alpha, rho and N_neg, and their hardness",
  ),
  "prototypes": (
    _ROOM + "features:add_prototypes",
    "prototypes of keypoint types across species never trained on",
  ),
  "dependency": (
    _ROOM + "attention:add_dependency",
    "the image regions that predictions depend on, one layer",
  ),
  "affected": (
    _ROOM + "attention:add_affected",
    "the image regions that a location affects, one layer",
  ),
  "sheet": (_ROOM + "attention:add_sheet", "all layers and all keypoints"),
  "gradients": (
    _ROOM + "attention:add_gradients",
    "the tokens that a prediction depends on, by gradient",
  ),
  "position-similarity": (
    _ROOM + "attention:add_position_similarity",
    "the similarity of position embeddings",
  ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the sub-commands, one per picture."""
  add_commands(parser, PICTURES, "PICTURE")
