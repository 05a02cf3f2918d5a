"""The other side: how PyTorch is run so that it does its best.

Memory layouts and, on a GPU, `torch.compile` are variants, of which the fastest
counts. Frozen layers get no graph, Adam is fused: what the original does not do, so
only the twin does.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness.problem import Builder, Setup, Side
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.encoder import IMAGE_MEAN, IMAGE_STD

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def variants(build: Callable[[torch.memory_format], Side]) -> dict[str, Builder]:
  """Returns a builder for each memory layout."""
  return {
    name: (lambda layout=layout: build(layout)) for name, layout in LAYOUTS.items()
  }


def network(
  kind: Callable[..., nn.Module],
  config: ModelConfig,
  side: int,
  variables: Any,
  layout: torch.memory_format,
  setup: Setup,
) -> Any:
  """Loads our weights into a network of PyTorch.

  Args:
    kind: its class.
    config: the model.
    side: of the images.
    variables: ours.
    layout: of weights and feature maps.
    setup: names the device.
  """
  built: Any = kind(dataclasses.asdict(config), side)
  state = torch_names.state_dict(variables, config, side)
  built.load_state_dict({name: torch.tensor(x) for name, x in state.items()})
  built = placed(built, setup, layout)

  def in_layout(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].contiguous(memory_format=layout), *inputs[1:])

  built.encoder.register_forward_pre_hook(in_layout)
  return built


def placed(built: nn.Module, setup: Setup, layout: torch.memory_format) -> Any:
  """Moves a network to the device, its weights in a layout."""
  kept: Any = built  # the overloads of `to` know no layout without a device
  return kept.to(device(setup), memory_format=layout)


class GivenFeatures(nn.Module):
  """Stands in for an encoder: returns maps [t c h w]."""

  def __init__(self, maps: np.ndarray, layout: torch.memory_format, setup: Setup):
    super().__init__()
    folded = torch.tensor(maps).flatten(0, 1).permute(0, 3, 1, 2)
    self.maps = folded.to(device(setup)).contiguous(memory_format=layout)

  def forward(self, _: Tensor) -> list[Tensor]:
    """Returns the maps."""
    return [self.maps]


def freeze(encoder: Any) -> None:
  """Takes the parameters that get no gradient out of the graph."""
  for block in encoder.encoder_list[: encoder.frozen + 1]:
    block.requires_grad_(False)


def inputs(batch: EpisodeBatch, setup: Setup) -> tuple[Tensor, ...]:
  """Returns support images, keypoints and masks, and query images, all as stored."""
  return tensors(
    (
      batch.support.images,
      batch.support.keypoints,
      batch.support.visible,
      batch.query.images,
    ),
    setup,
  )


def tensors(values: tuple[Any, ...], setup: Setup) -> tuple[Tensor, ...]:
  """Copies arrays to the device."""
  return tuple(torch.tensor(np.asarray(x)).to(device(setup)) for x in values)


def normalizer(setup: Setup) -> Callable[[Tensor], Tensor]:
  """Returns a function from uint8 [.. h w 3] to float [.. 3 h w], for the networks."""
  known = 255 * np.array([IMAGE_MEAN, IMAGE_STD], np.float32)
  ((mean, std),) = tensors((known,), setup)
  return lambda images: ((images.float() - mean) / std).movedim(-1, -3)


def compiled(function: Callable[..., Any], mode: str = "default") -> Callable[..., Any]:
  """Compiles a function for the sizes that it is called with, at its first call."""
  return torch.compile(function, dynamic=False, mode=mode)


def forget_compiled() -> None:
  """Drops what was compiled; after a few functions PyTorch would compile no more."""
  if "torch._dynamo" in sys.modules:  # whose import takes seconds
    torch.compiler.reset()


@contextlib.contextmanager
def arithmetic(precision: str, setup: Setup) -> Iterator[None]:
  """Sets what float32 products are made in, and autocasts for bfloat16."""
  allow_tf32(precision == "tf32")
  name = "cuda" if setup.device == "gpu" else "cpu"
  with torch.autocast(name, torch.bfloat16, enabled=precision == "bfloat16"):
    yield


def allow_tf32(allowed: bool) -> None:
  """Lets CUDA round the factors of float32 products, or not."""
  torch.backends.cuda.matmul.allow_tf32 = allowed
  torch.backends.cudnn.allow_tf32 = allowed
  torch.backends.cudnn.benchmark = True


def inference(function: Callable[[], Any], precision: str, setup: Setup) -> Side:
  """Makes a side of a function without gradients."""

  def run() -> Any:
    with torch.inference_mode(), arithmetic(precision, setup):
      return finish(function())

  return Side(run, arrays)


def finish(result: Any) -> Any:
  """Waits for the device."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()
  return result


def arrays(result: Any) -> list[np.ndarray]:
  """Returns tensors, or values and lists of them, as float32."""
  if isinstance(result, Mapping):
    result = list(result.values())
  if isinstance(result, (list, tuple)):
    return [array for x in result for array in arrays(x)]
  return [torch.as_tensor(result).detach().float().cpu().numpy()]


def gradient_norm(module: nn.Module) -> Tensor:
  """Returns the norm of all gradients together."""
  norms = [x.grad.norm() for x in module.parameters() if x.grad is not None]
  return torch.stack(norms).norm()


def use_all_cores() -> None:
  """Gives PyTorch as many threads as JAX has."""
  torch.set_num_threads(len(os.sched_getaffinity(0)))


def device(setup: Setup) -> torch.device:
  """Returns the device of a setup."""
  return torch.device("cuda" if setup.device == "gpu" else "cpu")
