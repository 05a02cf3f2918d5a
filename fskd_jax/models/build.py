"""Builds the network that a configuration describes."""

from typing import Any, NamedTuple

import jax

from fskd_jax.config import Config, crop_size
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.transpose import TransPose


class Model(NamedTuple):
  """A model: its configuration and its variables."""

  config: Config
  variables: dict[str, Any]


def make_model(cfg: Config) -> FewShotDetector | TransPose:
  """Makes the model of a configuration."""
  if cfg.task == "pose":
    return TransPose(cfg.model, crop_size(cfg.data), len(cfg.data.base))
  return FewShotDetector(cfg.model, cfg.data.image_size)


def count_parameters(params: Any) -> int:
  """Counts the numbers in a tree of parameters."""
  return sum(x.size for x in jax.tree.leaves(params))
