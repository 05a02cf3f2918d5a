"""Names of TransPose's official state dicts. Source: docs/transpose.md#names."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fskd_jax.config import ModelConfig, keeping
from fskd_jax.config.encoders import is_wrapped
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.entries import Entry
from fskd_jax.models.transformer import sine_position_embedding
from fskd_jax.models.transpose import TransPose, init_variables

POSITION = "pos_embedding"
HEAD_NAMES = {"final": "final_layer"} | {
  f"deconv{kind}_{i}": f"deconv_layers.{3 * i + offset}"
  for i in range(3)  # at most three deconvolutions, after a stride of 32
  for kind, offset in (("", 0), ("_bn", 1))
}


def load_state_dict(
  state_dict: Mapping[str, np.ndarray],
  config: ModelConfig,
  image_size: tuple[int, int],
  num_keypoints: int,
) -> dict[str, Any]:
  """Reads the variables of a `TransPose` from an official state dict.

  Args:
    state_dict: NumPy arrays by name. `num_batches_tracked` is ignored; a sine
      embedding must agree with the formula, for a grid of any size.
    config: The architecture.
    image_size: Height and width of the images.
    num_keypoints: Number of keypoint types.

  Returns:
    {"params": ..., "batch_stats": ...}, float32.

  Raises:
    ValueError: The position embedding is of another kind, or a tensor is missing,
      unexpected, of a wrong shape or not finite. The message lists every one.
  """
  state_dict = entries.without_parallel_prefix(state_dict)
  state_dict = without_sine(state_dict, config)
  return entries.read(state_dict, transpose_table(config, image_size, num_keypoints))


def state_dict(
  variables: Mapping[str, Any],
  config: ModelConfig,
  image_size: tuple[int, int],
  num_keypoints: int,
) -> dict[str, np.ndarray]:
  """Writes the variables of a `TransPose` as an official state dict.

  The inverse of `load_state_dict`, bit for bit. A sine embedding, a constant here but
  a tensor in the state dict, is written for `image_size`.

  Raises:
    ValueError: The variables are not those of this configuration.
  """
  table = transpose_table(config, image_size, num_keypoints)
  return sine_tensor(config, image_size) | entries.write(variables, table)


def transpose_table(
  config: ModelConfig, image_size: tuple[int, int], num_keypoints: int
) -> list[Entry]:
  """Lists every variable of a `TransPose` with its name in a state dict."""

  def table() -> list[Entry]:
    model = TransPose(config, image_size, num_keypoints)
    shapes = jax.eval_shape(lambda: init_variables(model, seed=0))
    return entries.make_table(shapes, encoder_names(config) | HEAD_NAMES)

  return keeping.kept(
    ("TransPose table", config, tuple(image_size), num_keypoints), table
  )


def encoder_names(config: ModelConfig, prefix: str = "") -> dict[str, str]:
  """Returns the official names of the encoder's modules, each after a prefix.

  It is empty for an encoder without published weights, whose modules keep their own
  names.
  """
  root, names = "encoder/", {}
  if config.transformer.layers:
    names |= {"encoder/reduce": "reduce", "encoder/transformer/position": POSITION}
    for i in range(config.transformer.layers):
      names |= _layer_names(f"encoder/transformer/layer{i}/", i)
  if is_wrapped(config):
    root = "encoder/backbone/"
  if backbone := NAMES[config.encoder]:
    names |= {root + path: name for path, name in backbone.published(config).items()}
  return {path: prefix + name for path, name in names.items()}


def sine_tensor(
  config: ModelConfig, image_size: tuple[int, int], prefix: str = ""
) -> dict[str, np.ndarray]:
  """Returns the sine embedding as state dicts hold it; empty for another embedding."""
  if not has_sine(config):
    return {}
  height, width = (side // config.strides[0] for side in image_size)
  embedding = sine_position_embedding(height, width, config.transformer.width)
  return {prefix + POSITION: embedding[:, None]}


def without_sine(
  state_dict: Mapping[str, np.ndarray], config: ModelConfig, prefix: str = ""
) -> dict[str, np.ndarray]:
  """Checks the sine embedding of a state dict, and removes it.

  Raises:
    ValueError: The embedding is missing, or does not agree with the formula for any
      grid of that number of cells.
  """
  if not has_sine(config):
    return dict(state_dict)
  name, rest = prefix + POSITION, dict(state_dict)
  found = rest.pop(name, None)
  channels = config.transformer.width
  expected = f"the sine embedding (cells, 1, {channels})"
  if found is None:
    raise ValueError(f"missing: {name}, {expected}")
  if found.shape[1:] != (1, channels) or not _is_sine(found[:, 0]):
    raise ValueError(
      f"{name} {found.shape} is not {expected} of model.transformer.position = 'sine'; "
      "a learned one needs 'learnable'"
    )
  return rest


def has_sine(config: ModelConfig) -> bool:
  """Returns whether the model has a sine embedding."""
  return config.transformer.layers > 0 and config.transformer.position == "sine"


def _is_sine(embedding: np.ndarray) -> bool:
  """Whether an embedding is that of some grid; the weights do not depend on which."""
  cells, channels = embedding.shape
  return any(
    np.allclose(
      embedding, sine_position_embedding(height, cells // height, channels), 0, 1e-5
    )
    for height in range(1, cells + 1)
    if cells % height == 0
  )


def _layer_names(flax: str, number: int) -> dict[str, str]:
  torch = f"global_encoder.layers.{number}."
  names = {
    f"{flax}attention/in_kernel": f"{torch}self_attn.in_proj_weight",
    f"{flax}attention/in_bias": f"{torch}self_attn.in_proj_bias",
    f"{flax}attention/out_projection": f"{torch}self_attn.out_proj",
  }
  same = ("linear1", "linear2", "norm1", "norm2")
  return names | {flax + name: torch + name for name in same}
