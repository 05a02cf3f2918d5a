"""(j) Encoders with published weights, beside the packages that published them.

EfficientNet-Lite on 9 images: all four maps forward, and the mean of their squares
with the gradient by every parameter, batch norm at its running statistics on both
sides. PyTorch normalises images before, ours within the program.
"""

import functools
from collections.abc import Iterator
from typing import Any

import efficientnet_lite_pytorch
import jax
import numpy as np
import torch

from benchmarks.harness.problem import Problem, Setup, Side
from benchmarks.opponents import ours, pytorch
from fskd_jax.config import ModelConfig
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.models.encoder import build_encoder, normalize_for

IMAGES = 9
STRIDES = (4, 8, 16, 32)
LIMIT = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields encoders, forward and with gradients."""
  cases = [("efficientnet_lite0", 64)]
  if setup.is_full:
    cases = [(f"efficientnet_lite{i}", 192) for i in (0, 2)]
  for precision in setup.precisions:
    for name, side in cases:
      for part in ("forward", "gradients"):
        arguments = (name, side, part, precision)
        yield Problem(
          name=f"{name}, {part}, {IMAGES} images, {side} px, {precision}",
          variables=dict(zip(("encoder", "side", "part", "precision"), arguments)),
          sides={
            "ours": {"": functools.partial(our_side, *arguments)},
            "PyTorch": pytorch.variants(
              functools.partial(torch_side, setup, *arguments)
            ),
          },
          limit=LIMIT[precision],
          memory=True,
          items=IMAGES,
        )


def _config(name: str, precision: str) -> ModelConfig:
  dtype = "bfloat16" if precision == "bfloat16" else "float32"
  return ModelConfig(
    encoder=name, strides=STRIDES, freeze_until="", compute_dtype=dtype
  )


def _images(side: int) -> np.ndarray:
  return ours.episodes(side, queries=IMAGES).query.images[0]


def _variables(config: ModelConfig, side: int) -> Any:
  images = np.zeros((1, side, side, 3), np.float32)
  init = functools.partial(build_encoder(config, side).init, train=False)
  variables = ours.drawn(lambda: init(jax.random.key(0), images))
  # Quieter than He's, for a hundred layers without statistics of their own.
  return jax.tree_util.tree_map_with_path(
    lambda path, x: np.float32(0.7) * x if path[-1].key == "kernel" else x, variables
  )


def our_side(name: str, side: int, part: str, precision: str) -> Side:
  """Compiles our encoder."""
  config = _config(name, precision)
  encoder, variables = build_encoder(config, side), _variables(config, side)

  def forward(params: Any, stats: Any, images: Any) -> Any:
    both = {"params": params, "batch_stats": stats}
    return encoder.apply(both, normalize_for(config, images), train=False)

  def gradients(*arguments: Any) -> Any:
    def loss(*arguments: Any) -> Any:
      maps: Any = forward(*arguments)
      return sum((x.astype(np.float32) ** 2).mean() for x in maps)

    return jax.value_and_grad(loss)(*arguments)

  arguments = (variables["params"], variables["batch_stats"], _images(side))
  if part == "forward":
    return ours.compiled(forward, *arguments, precision=precision)
  compiled = ours.compiled(gradients, *arguments, precision=precision)
  return compiled._replace(numbers=_loss_and_norm)


def _loss_and_norm(result: Any) -> list[np.ndarray]:
  loss, gradients = result
  norms = [np.linalg.norm(np.asarray(x, float)) for x in jax.tree.leaves(gradients)]
  return [np.asarray(loss, np.float32), np.asarray(np.linalg.norm(norms))]


def torch_side(
  setup: Setup,
  name: str,
  side: int,
  part: str,
  precision: str,
  layout: torch.memory_format,
) -> Side:
  """Loads our weights into the published network."""
  pytorch.use_all_cores()
  config = _config(name, precision)
  kind: Any = efficientnet_lite_pytorch.EfficientNet
  network = kind.from_name(name.replace("_", "-", 1), image_size=side).eval()
  names = NAMES[name]
  assert names is not None
  variables = _variables(config, side)
  tensors = entries.write(
    variables, entries.make_table(variables, names.published(config))
  )
  network.load_state_dict({k: torch.tensor(x) for k, x in tensors.items()}, False)
  network = network.to(pytorch.device(setup)).to(memory_format=layout)
  pixels = torch.tensor((_images(side).astype(np.float32) - 127) / 128)
  images = pixels.movedim(-1, 1).to(pytorch.device(setup), memory_format=layout)

  def maps() -> list[torch.Tensor]:
    x, found = network._swish(network._bn0(network._conv_stem(images))), {}
    for block in network._blocks:
      x = block(x)
      found[side // x.shape[-1]] = x
    return [found[stride].movedim(1, -1) for stride in STRIDES]

  if part == "forward":
    return pytorch.inference(maps, precision, setup)

  def run() -> Any:
    with pytorch.arithmetic(precision, setup):
      loss = torch.stack([x.float().square().mean() for x in maps()]).sum()
    loss.backward()
    return pytorch.finish(loss)

  def numbers(loss: Any) -> list[np.ndarray]:
    return pytorch.arrays([loss, pytorch.gradient_norm(network)])

  return Side(run, numbers, before=network.zero_grad)
