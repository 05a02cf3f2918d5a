"""Kernels of attention: JAX's two implementations, PyTorch's choice.

Sizes are those of the networks here: DINOv2-B at 384 px, and TransPose at 256 x 192.
Each side has queries, keys and values in its own layout, and makes `CALLS` calls
before it waits; gradients are those by all three, given one of the result.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness.problem import Problem, Setup, Side, SkippedError, Work
from benchmarks.opponents import ours, pytorch

CALLS = 20
LIMIT = {"float32": 1e-3, "bfloat16": 5e-2}


class Size(NamedTuple):
  """Sizes of queries, keys and values: images, tokens, heads, channels of a head."""

  images: int
  tokens: int
  heads: int
  channels: int


SIZES = {
  "DINOv2-B": Size(12, 1 + 24 * 24, 12, 64),
  "TP-R-A4": Size(32, 32 * 24, 8, 32),
  "TP-H-S": Size(32, 64 * 48, 1, 64),
}
SMALL = {"small": Size(2, 145, 3, 32)}


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields sizes, parts and precisions."""
  for name, size in (SIZES if setup.is_full else SMALL).items():
    for part in ("forward", "gradients"):
      for precision in setup.precisions:
        if precision != "tf32":
          yield _problem(setup, name, size, part, precision)


def _problem(setup: Setup, name: str, size: Size, part: str, precision: str) -> Problem:
  ours_by = functools.partial(our_side, setup, size, part, precision)
  by_torch = functools.partial(torch_side, setup, size, part, precision)
  shape = f"{size.images} images, {size.tokens} tokens"
  return Problem(
    name=f"{CALLS} x attention of {name}, {part}, {shape}, {precision}",
    variables={"part": "attention", "size": name, "precision": precision},
    sides={
      "JAX, xla": {"": functools.partial(ours_by, "xla")},
      "JAX, cudnn": {"": functools.partial(ours_by, "cudnn")},
      "PyTorch": {"": by_torch},
    },
    limit=LIMIT[precision],
    memory=setup.device == "gpu",
    work=_work(size, part, precision),
    items=CALLS * size.images,
  )


def our_side(
  setup: Setup, size: Size, part: str, precision: str, implementation: Any
) -> Side:
  """Compiles an implementation of JAX's attention."""
  if implementation == "cudnn" and setup.device != "gpu":
    raise SkippedError("cuDNN needs a GPU")
  if implementation == "cudnn" and precision == "float32":
    raise SkippedError("cuDNN's attention takes float16 and bfloat16 alone")
  *inputs, change = (jax.numpy.asarray(x, precision) for x in _drawn(size))
  attend = functools.partial(
    jax.nn.dot_product_attention, implementation=implementation
  )

  def gradients(*inputs: Any) -> Any:
    _, back = jax.vjp(attend, *inputs[:-1])
    return back(inputs[-1])

  arguments = tuple(inputs) if part == "forward" else (*inputs, change)
  function = attend if part == "forward" else gradients
  program, seconds, cost = ours.program(function, *arguments, precision=precision)

  def run() -> Any:
    result = None
    for _ in range(CALLS):
      result = program(*arguments)
    return jax.block_until_ready(result)

  return Side(run, ours.arrays, seconds, cost)


def torch_side(setup: Setup, size: Size, part: str, precision: str) -> Side:
  """Prepares PyTorch's attention, which chooses among its kernels by the sizes."""
  pytorch.allow_tf32(False)
  dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
  # Heads before tokens, as PyTorch has them.
  drawn = tuple(x.swapaxes(1, 2).copy() for x in _drawn(size))
  *inputs, change = (x.to(dtype) for x in pytorch.tensors(drawn, setup))
  query, key, value = inputs
  is_forward = part == "forward"
  for x in inputs:
    x.requires_grad_(not is_forward)

  def run() -> Any:
    result = None
    for _ in range(CALLS):
      result = F.scaled_dot_product_attention(query, key, value)
      if not is_forward:
        result = torch.autograd.grad(result, inputs, change)
    return pytorch.finish(result)

  return Side(run, lambda x: [y.swapaxes(1, 2) for y in pytorch.arrays(x)])


def _drawn(size: Size) -> list[np.ndarray]:
  """Draws queries, keys, values and the gradient of the result, [t l n c]."""
  rng = np.random.default_rng(0)
  shape = size.images, size.tokens, size.heads, size.channels
  return [rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]


def _work(size: Size, part: str, precision: str) -> Work:
  """Counts the products of all calls, and reading and writing without the weights."""
  images, tokens, heads, channels = size
  products = 2 * 2.0 * images * heads * tokens**2 * channels
  array = (2 if precision == "bfloat16" else 4) * images * tokens * heads * channels
  forward = Work(products, 4 * array)
  # Twice the products, from five arrays to three.
  both = forward + Work(2 * products, 8 * array)
  return (forward if part == "forward" else both).times(CALLS)
