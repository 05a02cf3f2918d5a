"""State dicts of a configuration's whole model, for either task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fskd_jax.config import Config, crop_size
from fskd_jax.interop import torch as torch_names
from fskd_jax.interop import transpose as transpose_names
from fskd_jax.interop.entries import Entry


def load_state_dict(
  state_dict: Mapping[str, np.ndarray], cfg: Config
) -> dict[str, Any]:
  """Reads the variables of a configuration's model by the names of its original.

  Raises:
    ValueError: The tensors do not fit the model. The message lists the differences.
  """
  if cfg.task == "pose":
    sizes = crop_size(cfg.data), len(cfg.data.base)
    return transpose_names.load_state_dict(state_dict, cfg.model, *sizes)
  return torch_names.load_state_dict(state_dict, cfg.model, cfg.data.image_size)


def state_dict(variables: Mapping[str, Any], cfg: Config) -> dict[str, np.ndarray]:
  """Writes the variables of a configuration's model by the names of its original.

  Raises:
    ValueError: The variables are not those of this configuration.
  """
  if cfg.task == "pose":
    sizes = crop_size(cfg.data), len(cfg.data.base)
    return transpose_names.state_dict(variables, cfg.model, *sizes)
  return torch_names.state_dict(variables, cfg.model, cfg.data.image_size)


def table(cfg: Config) -> list[Entry]:
  """Returns every variable of a configuration's model with its name in a state dict."""
  if cfg.task == "pose":
    sizes = crop_size(cfg.data), len(cfg.data.base)
    return transpose_names.transpose_table(cfg.model, *sizes)
  return torch_names.detector_table(cfg.model, cfg.data.image_size)
