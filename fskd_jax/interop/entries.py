"""Table that maps Flax variables to a PyTorch state dict, in both directions.

The modules that know the names of a model make the table. Tensors are NumPy arrays;
PyTorch is not needed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

LEAF_NAMES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}
TOKENS = ("cls_token", "positions", "registers")
"""Parameters of a vision transformer, one row per token; PyTorch has a batch axis."""

COUNTER = ".num_batches_tracked"
PARALLEL_PREFIX = "module."
"""Prefix that PyTorch's DataParallel puts before every name."""


class Entry(NamedTuple):
  """One tensor on both sides: torch = flax.transpose(axes).reshape(torch_shape).

  Attributes:
    path: Collection, modules and leaf of the Flax variable.
    name: Key in the state dict.
    flax_shape: Shape of the Flax variable.
    axes: Order of the Flax axes in PyTorch.
    torch_shape: Shape in PyTorch.
  """

  path: tuple[str, ...]
  name: str
  flax_shape: tuple[int, ...]
  axes: tuple[int, ...]
  torch_shape: tuple[int, ...]

  def to_torch(self, value: Any) -> np.ndarray:
    """Converts a Flax variable to PyTorch's layout."""
    value = np.asarray(value).transpose(self.axes)
    return np.ascontiguousarray(value).reshape(self.torch_shape)

  def to_flax(self, value: np.ndarray) -> np.ndarray:
    """Converts a tensor to Flax's layout."""
    value = value.reshape([self.flax_shape[axis] for axis in self.axes])
    return np.ascontiguousarray(value.transpose(np.argsort(self.axes)))


def make_table(variables: Any, names: Mapping[str, str]) -> list[Entry]:
  """Lists every variable.

  Args:
    variables: Variables of a network, or their shapes.
    names: Prefix in the state dict for the path of a module ("encoder/conv1"), or the
      whole name for the path of a parameter ("encoder/transformer/position"). A
      variable without a name here gets its Flax path, joined by dots.
  """
  entries = []
  leaves: dict[Any, Any] = traverse_util.flatten_dict(variables)
  for path, leaf in leaves.items():
    module = "/".join(path[1:-1])
    prefix = names.get(module, module.replace("/", "."))
    name = f"{prefix}.{LEAF_NAMES.get(path[-1], path[-1])}"
    name = names.get("/".join(path[1:]), name)
    entries.append(Entry(path, name, leaf.shape, *_layout(path, leaf.shape)))
  return entries


def read(tensors: Mapping[str, np.ndarray], entries: Iterable[Entry]) -> dict[str, Any]:
  """Reads exactly these entries, and ignores counters of batches.

  Returns:
    The variables, float32.

  Raises:
    ValueError: A tensor is missing, unexpected, of a wrong shape or not finite. The
      message lists every one.
  """
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


def write(
  variables: Mapping[str, Any], entries: Iterable[Entry]
) -> dict[str, np.ndarray]:
  """Writes exactly these entries, with counters of 0. The inverse of `read`.

  Raises:
    ValueError: The variables are not those of the entries. The message lists the
      differences.
  """
  leaves: dict[Any, Any] = traverse_util.flatten_dict(variables)
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


def without_parallel_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
  """Removes the prefix "module." from the names if all have it."""
  if not all(name.startswith(PARALLEL_PREFIX) for name in tensors):
    return dict(tensors)
  return {name.removeprefix(PARALLEL_PREFIX): x for name, x in tensors.items()}


def _layout(
  path: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Returns (axes, torch_shape) of a variable."""
  if path[-1] == "position":  # cells in both; PyTorch has an axis for the batch
    tokens, channels = shape
    return (0, 1), (tokens, 1, channels)
  if path[-1] in TOKENS:
    return (0, 1), (1, *shape)
  # Convolution: h w in out -> out in h w. Transposed: h w out in -> in out h w.
  if len(shape) == 4:
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
