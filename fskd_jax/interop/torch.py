"""PyTorch names of the few-shot detector's parameters, in both directions.

One table, made from the model's own variables, drives import and export. Source:
docs/algorithm.md#state-dict.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fskd_jax.config import ModelConfig, keeping
from fskd_jax.config.encoders import is_wrapped
from fskd_jax.interop import entries
from fskd_jax.interop import transpose as transpose_names
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.entries import Entry
from fskd_jax.models.detector import FewShotDetector, variable_shapes

ENCODER = "encoder."


def load_state_dict(
  state_dict: Mapping[str, np.ndarray], config: ModelConfig, image_size: int = 32
) -> dict[str, Any]:
  """Reads the variables of a detector from a state dict of the original.

  Args:
    state_dict: NumPy arrays by name. `num_batches_tracked` is ignored, because the
      running averages have a fixed decay.
    config: The architecture.
    image_size: Side of the input; only the positions of a transformer depend on it.

  Returns:
    {"params": ..., "batch_stats": ...}, float32.

  Raises:
    ValueError: A tensor is missing, unexpected, of a wrong shape or not finite. The
      message lists every one.
  """
  state_dict = entries.without_parallel_prefix(state_dict)
  state_dict = transpose_names.without_sine(state_dict, config, ENCODER)
  return entries.read(state_dict, detector_table(config, image_size))


def state_dict(
  variables: Mapping[str, Any], config: ModelConfig, image_size: int = 32
) -> dict[str, np.ndarray]:
  """Writes the variables of a detector as a state dict of the original.

  The inverse of `load_state_dict`, bit for bit.

  Raises:
    ValueError: The variables are not those of this configuration.
  """
  tensors = entries.write(variables, detector_table(config, image_size))
  sine = transpose_names.sine_tensor(config, (image_size, image_size), ENCODER)
  return sine | tensors


def detector_table(config: ModelConfig, image_size: int = 32) -> list[Entry]:
  """Lists every variable of a detector with its name in a state dict.

  Encoders of TransPose have the official names after "encoder.". A module that no
  original has (the small encoder, the ablated kernel generators) gets its Flax path,
  joined by dots.
  """

  def table() -> list[Entry]:
    detector = FewShotDetector(config, image_size)
    shapes = variable_shapes(detector)
    return entries.make_table(shapes, _encoder_names(config) | _head_names(config))

  return keeping.kept(("detector table", config, image_size), table)


def _encoder_names(config: ModelConfig) -> dict[str, str]:
  names = NAMES[config.encoder]
  if is_wrapped(config) or not names or not names.detector:
    return transpose_names.encoder_names(config, ENCODER)
  return {f"encoder/{path}": name for path, name in names.detector(config).items()}


def _head_names(config: ModelConfig) -> dict[str, str]:
  """Maps the kernel generators and up-samplers to the original's names."""
  modules = {}
  for i, stride in enumerate(config.strides):
    for j, size in enumerate(config.kernel_sizes):
      flax, torch = f"kernel_generator_{stride}", f"weight_generator_list.{i}"
      modules[f"{flax}/srm_{size}"] = f"{torch}.weight_net_part1.{j}.0"
      crm, crm_index = ("crm", 0) if config.shared_crm else (f"crm_{size}", j)
      modules[f"{flax}/{crm}/hidden"] = f"{torch}.weight_net_part2.{crm_index}.0"
      modules[f"{flax}/{crm}/output"] = f"{torch}.weight_net_part2.{crm_index}.2"
      for layer in range(3):
        bias_net = f"{flax}/bias_net_{size}/layer{layer + 1}"
        modules[bias_net] = f"{torch}.bias_net.{j}.{2 * layer}"
      group = i * len(config.kernel_sizes) + j
      modules[f"upsampler_{stride}_{size}/conv1"] = f"output_sr_list.{group}.1"
      modules[f"upsampler_{stride}_{size}/conv2"] = f"output_sr_list.{group}.3"
  return modules
