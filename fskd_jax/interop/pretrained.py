"""Initialises an encoder from a file of pretrained weights."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from fskd_jax.buckets import copies
from fskd_jax.config import ModelConfig
from fskd_jax.config.encoders import is_wrapped
from fskd_jax.interop import entries
from fskd_jax.interop import transpose as transpose_names
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.published import store
from fskd_jax.interop.published.table import PUBLISHED, PublishedWeights
from fskd_jax.interop.weights import read_weights

_log = logging.getLogger(__name__)

HEAD = ("deconv_layers.", "final_layer.")
"""Prefixes of what comes after the encoder in a TransPose."""


def pretrained_variables(
  variables: Mapping[str, Any], path: str | pathlib.Path, config: ModelConfig
) -> dict[str, Any]:
  """Replaces the encoder by that of a file, and logs the names that are not used.

  Args:
    variables: Variables of a detector or a `TransPose`.
    path: File of weights that holds a `state_dict` of `load_pretrained`; or a name in
      `published.table`.
    config: The architecture.

  Raises:
    ValueError: `load_pretrained` raises it; the message begins with the file. Or the
      published weights are of another encoder, or their file is not the published one.
    FileNotFoundError: The file does not exist. Nothing is downloaded here.
  """
  if path in PUBLISHED:
    path = _published(PUBLISHED[str(path)], config)
  elif not pathlib.Path(path).suffix:
    raise ValueError(
      f"model.pretrained = {str(path)!r}: expected a file that ends in .safetensors or "
      f".pth, or one of the names {', '.join(PUBLISHED)}"
    )
  tensors = read_weights(copies.local(path))
  try:
    loaded, unused = load_pretrained(tensors, variables, config)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  modules = sorted({".".join(name.split(".")[:2]) for name in unused})
  _log.info("encoder from %s; not used: %s", path, ", ".join(modules) or "none")
  return loaded


def load_pretrained(
  state_dict: Mapping[str, np.ndarray],
  variables: Mapping[str, Any],
  config: ModelConfig,
) -> tuple[dict[str, Any], list[str]]:
  """Reads the encoder, or the part of it that files of that kind hold.

  Args:
    state_dict: Tensors of torchvision's ResNet-50 or an ImageNet HRNet, for the
      backbone; or of a TransPose, for the whole encoder and the deconvolutions. The
      last layer is left as it is, so the keypoints may differ.
    variables: Variables of a detector or a `TransPose`.
    config: The architecture.

  Returns:
    All variables, and the names of the tensors that were not used.

  Raises:
    ValueError: No published files exist for this encoder, or a tensor is missing,
      unexpected, of a wrong shape or not finite. The message lists every one.
  """
  encoder = NAMES[config.encoder]
  if encoder is None:
    known = ", ".join(repr(name) for name, names in NAMES.items() if names)
    raise ValueError(f"no weights fit model.encoder={config.encoder!r}; take {known}")
  state_dict = {
    name: x
    for name, x in entries.without_parallel_prefix(state_dict).items()
    if not name.endswith(entries.COUNTER)
  }
  if encoder.translated:
    state_dict = encoder.translated(state_dict, config)
  parts: tuple[str, ...] = ("encoder/",)
  if "reduce.weight" in state_dict:
    state_dict = transpose_names.without_sine(state_dict, config)
    parts += ("deconv_",)
  elif is_wrapped(config):
    parts = ("encoder/backbone/",)
  names = transpose_names.encoder_names(config) | transpose_names.HEAD_NAMES
  table = [
    entry
    for entry in entries.make_table(variables, names)
    if "/".join(entry.path[1:]).startswith(parts)
  ]
  blocks = {_block(entry.name) for entry in table}
  expected = {entry.name for entry in table}
  unused = [
    name
    for name in state_dict
    if name not in expected
    and (
      name.startswith(encoder.unused + HEAD)
      or name.startswith(encoder.blocks)
      and _block(name) not in blocks
    )
  ]
  kept = {name: x for name, x in state_dict.items() if name not in set(unused)}
  read = traverse_util.flatten_dict(entries.read(kept, table))
  merged: dict[Any, Any] = traverse_util.flatten_dict(variables)
  return traverse_util.unflatten_dict(merged | read), unused


def _published(weights: PublishedWeights, config: ModelConfig) -> pathlib.Path:
  if weights.encoder != config.encoder:
    raise ValueError(
      f"model.pretrained = {weights.name!r} are weights of {weights.encoder!r}, not of "
      f"model.encoder = {config.encoder!r}"
    )
  return store.find(weights)


def _block(name: str) -> str:
  """Returns the first two parts of a name: layer1.0 of layer1.0.conv1.weight."""
  return ".".join(name.split(".")[:2])
