"""Names and layouts between Flax variables and PyTorch state dicts, both ways.

One table, made from the model's own variables, drives import and export. Tensors
are NumPy arrays; PyTorch is not needed. Source: spec/fskd.md section 4.9.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from fskd_jax.config import ModelConfig
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.models.resnet import STAGES

LEAF_NAMES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}
BLOCK_NAMES = {
  "conv1": "conv1",
  "bn1": "bn1",
  "conv2": "conv2",
  "bn2": "bn2",
  "conv3": "conv3",
  "bn3": "bn3",
  "downsample_conv": "downsample.0",
  "downsample_bn": "downsample.1",
}
COUNTER = ".num_batches_tracked"


class Entry(NamedTuple):
  """One tensor on both sides: torch = flax.transpose(axes).reshape(torch_shape).

  Attributes:
    path: collection, modules and leaf of the Flax variable.
    name: key in the state dict.
    flax_shape: shape of the Flax variable.
    axes: order of the Flax axes in PyTorch.
    torch_shape: shape in PyTorch.
  """

  path: tuple[str, ...]
  name: str
  flax_shape: tuple[int, ...]
  axes: tuple[int, ...]
  torch_shape: tuple[int, ...]

  def to_torch(self, value: Any) -> np.ndarray:
    """Brings a Flax variable into PyTorch's layout."""
    value = np.asarray(value).transpose(self.axes)
    return np.ascontiguousarray(value).reshape(self.torch_shape)

  def to_flax(self, value: np.ndarray) -> np.ndarray:
    """Brings a tensor into Flax's layout."""
    value = value.reshape([self.flax_shape[axis] for axis in self.axes])
    return np.ascontiguousarray(value.transpose(np.argsort(self.axes)))


def load_state_dict(
  state_dict: Mapping[str, np.ndarray], config: ModelConfig
) -> dict[str, Any]:
  """Reads the variables of a detector from a state dict of the original.

  `num_batches_tracked` is ignored: the running averages have a fixed decay.

  Returns:
    {"params": ..., "batch_stats": ...}, float32.

  Raises:
    ValueError: lists every tensor that is missing, unexpected, of a wrong shape or
      not finite.
  """
  return _read(state_dict, detector_table(config))


def state_dict(
  variables: Mapping[str, Any], config: ModelConfig
) -> dict[str, np.ndarray]:
  """Writes the variables of a detector as a state dict of the original.

  The inverse of `load_state_dict`, bit for bit.

  Raises:
    ValueError: the variables are not those of this configuration.
  """
  leaves: dict[Any, Any] = traverse_util.flatten_dict(variables)
  entries = detector_table(config)
  shapes = {path: np.shape(leaf) for path, leaf in leaves.items()}
  expected = {entry.path: entry.flax_shape for entry in entries}
  if shapes != expected:
    differing = sorted("/".join(path) for path, _ in shapes.items() ^ expected.items())
    raise ValueError(
      "variables do not belong to this configuration; they differ in "
      + ", ".join(dict.fromkeys(differing))
    )
  tensors = {}
  for entry in entries:
    tensors[entry.name] = entry.to_torch(leaves[entry.path])
    if entry.path[-1] == "var":
      counter = entry.name.removesuffix(".running_var") + COUNTER
      tensors[counter] = np.zeros((), np.int64)
  return tensors


def load_torchvision_resnet50(
  state_dict: Mapping[str, np.ndarray], encoder: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
  """Reads the variables of the encoder from torchvision's classifier.

  Args:
    state_dict: of torchvision's `resnet50`.
    encoder: variables of a `ResNet50`, or their shapes.

  Returns:
    Variables like `encoder`, and the names that it has no use for: the classifier
    `fc` and the blocks that are cut off.

  Raises:
    ValueError: `encoder` is of another kind; else as in `load_state_dict`.
  """
  if "layer1_0" not in encoder["params"]:
    raise ValueError("weights of torchvision's resnet50 need model.encoder='resnet50'")
  found = [name.split("_")[0] for name in encoder["params"]]
  names = _encoder_modules(
    "", "conv1", "bn1", "{stage}.{block}", [found.count(stage) for stage in STAGES]
  )
  entries = _table(encoder, names)
  blocks = {".".join(entry.name.split(".")[:2]) for entry in entries}
  dropped = [
    name
    for name in state_dict
    if name.startswith(("fc.", *STAGES)) and ".".join(name.split(".")[:2]) not in blocks
  ]
  kept = {name: state_dict[name] for name in state_dict if name not in set(dropped)}
  return _read(kept, entries), dropped


def detector_table(config: ModelConfig) -> list[Entry]:
  """Lists every variable of a detector with its name in a state dict.

  What the original does not have (the small encoder, the ablated kernel generators)
  goes by its Flax path, with dots.
  """
  detector = FewShotDetector(config, image_size=32)
  shapes = jax.eval_shape(lambda: init_variables(detector, seed=0))
  return _table(shapes, _detector_modules(config))


def _table(variables: Any, module_names: Mapping[str, str]) -> list[Entry]:
  entries = []
  leaves: dict[Any, Any] = traverse_util.flatten_dict(variables)
  for path, leaf in leaves.items():
    module = "/".join(path[1:-1])
    prefix = module_names.get(module, module.replace("/", "."))
    name = f"{prefix}.{LEAF_NAMES.get(path[-1], path[-1])}"
    entries.append(Entry(path, name, leaf.shape, *_layout(path, leaf.shape)))
  return entries


def _layout(
  path: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Returns (axes, torch_shape) of a variable."""
  if len(shape) == 4:  # convolution: h w in out -> out in h w
    h, w, inputs, outputs = shape
    return (3, 2, 0, 1), (outputs, inputs, h, w)
  if len(shape) == 3:  # SRM: s s c -> depthwise, c 1 s s
    h, w, channels = shape
    return (2, 0, 1), (channels, 1, h, w)
  if len(shape) == 2:  # in out -> out in; CRMs are 1x1 convolutions there
    inputs, outputs = shape
    is_crm = any(part.startswith("crm") for part in path)
    return (1, 0), (outputs, inputs, *((1, 1) if is_crm else ()))
  return tuple(range(len(shape))), shape


def _detector_modules(config: ModelConfig) -> dict[str, str]:
  """Maps Flax module paths to prefixes in the original's state dict."""
  modules = {}
  if config.encoder == "resnet50":
    root = "encoder.encoder_list."
    modules |= _encoder_modules(
      "encoder/", root + "0", root + "1", root + "{index}", config.resnet_blocks
    )
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


def _encoder_modules(
  root: str, stem_conv: str, stem_bn: str, block_format: str, blocks: Sequence[int]
) -> dict[str, str]:
  """Maps the modules of `ResNet50`; blocks are named by stage and block, or index.

  The original's index counts all of layer1 as 4 and every later block on from 5.
  """
  modules = {root + "conv1": stem_conv, root + "bn1": stem_bn}
  index = 5
  for stage, num_blocks in zip(STAGES, blocks):
    for block in range(num_blocks):
      number = f"4.{block}" if stage == "layer1" else index
      index += stage != "layer1"
      prefix = block_format.format(stage=stage, block=block, index=number)
      for flax, torch in BLOCK_NAMES.items():
        modules[f"{root}{stage}_{block}/{flax}"] = f"{prefix}.{torch}"
  return modules


def _read(
  tensors: Mapping[str, np.ndarray], entries: Iterable[Entry]
) -> dict[str, Any]:
  """Reads exactly these entries, or says everything that is wrong."""
  leaves, problems = {}, []
  unread = {name for name in tensors if not name.endswith(COUNTER)}
  for entry in entries:
    unread.discard(entry.name)
    value = tensors.get(entry.name)
    if value is None:
      problems.append(f"missing: {entry.name} {entry.torch_shape}")
    elif value.shape != entry.torch_shape:
      problems.append(
        f"wrong shape: {entry.name} {value.shape}, expected {entry.torch_shape}"
      )
    elif not np.isfinite(value).all():
      problems.append(f"not finite: {entry.name}")
    else:
      leaves[entry.path] = entry.to_flax(np.asarray(value, np.float32))
  problems += [f"unexpected: {name} {tensors[name].shape}" for name in sorted(unread)]
  if problems:
    raise ValueError("the state dict does not fit:\n  " + "\n  ".join(problems))
  return traverse_util.unflatten_dict(leaves)
