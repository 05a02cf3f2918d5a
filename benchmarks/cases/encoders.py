"""(j) Encoders with published weights, beside the packages that published them.

EfficientNet-Lite beside `efficientnet_lite_pytorch`, ResNet beside torchvision's
network (`opponents/resnet_twin.py`), DINOv2 and DINOv3 beside those of `transformers`:
all maps forward, and the mean of their squares with the gradient by every parameter,
batch norm at its running statistics on both sides. One of each kind at three sizes,
where PyTorch also runs by `torch.compile`, and all of them at `EVERY`. PyTorch
normalises images (and resizes them to DINOv2's patches) before, ours within the
program.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import efficientnet_lite_pytorch
import jax
import numpy as np
import torch
import transformers

from benchmarks.harness.problem import Problem, Setup, Side
from benchmarks.opponents import ours, pytorch, resnet_twin
from fskd_jax.config import ModelConfig
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.interop.pretrained import load_pretrained
from fskd_jax.models.efficientnet_lite import SCALES
from fskd_jax.models.encoder import build_encoder, normalize_for
from fskd_jax.models.resnet import BLOCKS
from fskd_jax.models.vit import GRID, SIZES, resize_to_patches

EVERY = 224
"""Side at which every encoder is measured, with `_FEW` images."""

_FEW = 2
ONE_OF_EACH = ("efficientnet_lite0", "resnet50", "dinov2_vits14")
NAMED = (*SCALES, *BLOCKS, "resnet50", *SIZES)
SIDES = {96: 9, 192: 9, 384: 3}
"""Images of each side."""

COMPILED = 192
"""Side at which PyTorch is compiled, too: that takes a minute for each problem."""

LIMIT = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}

Network = tuple[torch.nn.Module, Callable[[torch.Tensor], list[torch.Tensor]]]
"""A network, and the function from images [t 3 H W] to its maps [t h w c]."""


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields encoders and sizes, forward and with gradients."""
  cases = [(name, side) for name in ONE_OF_EACH for side in SIDES]
  cases += [(name, EVERY) for name in NAMED]
  if not setup.is_full:
    cases = [("efficientnet_lite0", 64), ("dinov2_vits14", 64)]
  for precision in setup.precisions:
    for name, side in cases:
      for part in ("forward", "gradients"):
        arguments = (name, side, part, precision)
        eager = functools.partial(torch_side, setup, *arguments, False)
        sides = {
          "ours": {"": functools.partial(our_side, *arguments)},
          "PyTorch": pytorch.variants(eager),
        }
        if side == COMPILED:
          compiled = functools.partial(torch_side, setup, *arguments, True)
          sides["PyTorch compiled"] = {
            "channels_last": functools.partial(compiled, torch.channels_last)
          }
        yield Problem(
          name=f"{name}, {part}, {_count(side)} images, {side} px, {precision}",
          variables=dict(zip(("encoder", "side", "part", "precision"), arguments)),
          sides=sides,
          limit=LIMIT[precision],
          items=_count(side),
        )


def _count(side: int) -> int:
  return SIDES.get(side, _FEW)


def _config(name: str, precision: str) -> ModelConfig:
  dtype = "bfloat16" if precision == "bfloat16" else "float32"
  return ModelConfig(
    encoder=name,
    strides=(16,) if name in SIZES else (4, 8, 16, 32),
    resnet_blocks=(3, 4, 6, 3),
    freeze_until="",
    compute_dtype=dtype,
  )


def _images(side: int) -> np.ndarray:
  return ours.episodes(side, queries=_count(side)).query.images[0]


def _variables(config: ModelConfig, side: int) -> Any:
  images = np.zeros((1, side, side, 3), np.float32)
  init = functools.partial(build_encoder(config, side).init, train=False)
  if config.encoder in SIZES:
    params = jax.eval_shape(init, jax.random.key(0), images)["params"]
    shapes = {"params": {"encoder": params}}
    network = _transformer(config.encoder)
    tensors = {name: x.numpy() for name, x in network.state_dict().items()}
    loaded, _ = load_pretrained(tensors, shapes, config)
    return {"params": loaded["params"]["encoder"], "batch_stats": {}}
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
  is_compiled: bool,
  layout: torch.memory_format,
) -> Side:
  """Loads our weights into the published network."""
  pytorch.use_all_cores()
  config = _config(name, precision)
  make = _vit if name in SIZES else _efficientnet if name in SCALES else _resnet
  network: Any
  network, maps = make(config, side)
  network = pytorch.placed(network, setup, layout)
  pixels = normalize_for(config, jax.numpy.asarray(_images(side), np.float32))
  if name in SIZES:
    pixels = resize_to_patches(pixels, SIZES[name].patch)
  images = torch.tensor(np.asarray(pixels)).movedim(-1, 1)
  images = images.to(pytorch.device(setup), memory_format=layout)

  def loss(images: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.float().square().mean() for x in maps(images)]).sum()

  function: Any = maps if part == "forward" else loss
  if is_compiled:
    function = pytorch.compiled(function)
  if part == "forward":
    return pytorch.inference(lambda: function(images), precision, setup)

  def run() -> Any:
    with pytorch.arithmetic(precision, setup):
      value = function(images)
    value.backward()
    return pytorch.finish(value)

  def numbers(loss: Any) -> list[np.ndarray]:
    return pytorch.arrays([loss, pytorch.gradient_norm(network)])

  return Side(run, numbers, before=network.zero_grad)


def _load(network: torch.nn.Module, config: ModelConfig, side: int) -> None:
  variables, names = _variables(config, side), NAMES[config.encoder]
  assert names is not None
  table = entries.make_table(variables, names.published(config))
  tensors = entries.write(variables, table)
  network.load_state_dict({k: torch.tensor(x) for k, x in tensors.items()}, False)


def _efficientnet(config: ModelConfig, side: int) -> Network:
  kind: Any = efficientnet_lite_pytorch.EfficientNet
  name = config.encoder.replace("_", "-", 1)
  network = kind.from_name(name, image_size=side).eval()
  _load(network, config, side)

  def maps(images: torch.Tensor) -> list[torch.Tensor]:
    x, found = network._swish(network._bn0(network._conv_stem(images))), {}
    for block in network._blocks:
      x = block(x)
      found[side // x.shape[-1]] = x
    return [found[stride].movedim(1, -1) for stride in config.strides]

  return network, maps


def _resnet(config: ModelConfig, side: int) -> Network:
  network = resnet_twin.ResNet(config.encoder).eval()
  _load(network, config, side)
  return network, lambda images: [x.movedim(1, -1) for x in network(images)]


def _vit(config: ModelConfig, side: int) -> Network:
  network, grid = _transformer(config.encoder), side // 16
  without = 1 + SIZES[config.encoder].registers

  def maps(images: torch.Tensor) -> list[torch.Tensor]:
    cells = network(images).last_hidden_state[:, without:]
    return [cells.unflatten(1, (grid, grid))]

  return network, maps


def _transformer(name: str) -> Any:
  """Returns the network of `transformers`, the same at every call."""
  size = SIZES[name]
  settings: dict[str, Any] = dict(
    hidden_size=size.width,
    num_hidden_layers=size.depth,
    num_attention_heads=size.heads,
    patch_size=size.patch,
  )
  if size.registers:
    settings["num_register_tokens"] = size.registers
  if size.is_rotary:
    kind, settings["intermediate_size"] = "DINOv3ViT", 4 * size.width
  else:
    kind = "Dinov2WithRegisters" if size.registers else "Dinov2"
    settings["image_size"] = GRID * size.patch
  config = getattr(transformers, f"{kind}Config")(**settings)
  with torch.random.fork_rng():
    torch.manual_seed(0)
    return getattr(transformers, f"{kind}Model")(config).eval()
