"""Builds the network that a configuration describes."""

from typing import Any, NamedTuple

import jax

from fskd_jax.config import Config, crop_size
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.transpose import TransPose


class Model(NamedTuple):
  """A network with its weights.

  Attributes:
    config: Configuration that describes the network.
    variables: Its {"params", "batch_stats"}.
  """

  config: Config
  variables: dict[str, Any]


def make_model(cfg: Config) -> FewShotDetector | TransPose:
  """Returns the network of a configuration, whose task chooses its kind."""
  return make_transpose(cfg) if cfg.task == "pose" else make_detector(cfg)


def make_detector(cfg: Config) -> FewShotDetector:
  """Returns the network of a few-shot configuration."""
  return FewShotDetector(cfg.model, cfg.data.image_size)


def make_transpose(cfg: Config) -> TransPose:
  """Returns the network of a pose configuration."""
  return TransPose(cfg.model, crop_size(cfg.data), len(cfg.data.base))


def count_parameters(params: Any) -> int:
  """Returns the number of scalars in a tree of parameters."""
  return sum(x.size for x in jax.tree.leaves(params))
