"""(i) TransPose: time per image of the published models at 256 x 192."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness.problem import Builder, Problem, Setup, Side, Work
from benchmarks.opponents import ours, pytorch, transpose_twin
from fskd_jax.interop import transpose as transpose_names
from fskd_jax.models import transpose
from fskd_jax.models.transpose import TransPose

KEYPOINTS = 17
LIMIT = {"float32": 2e-3, "tf32": 2e-2, "bfloat16": 1e-1}


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the models."""
  models = ("tp_r_a4", "tp_h_s") if setup.is_full else ("tp_r_a4",)
  size, images = ((256, 192), 8) if setup.is_full else ((64, 48), 2)
  for precision in setup.precisions:
    for model in models:
      yield _problem(setup, precision, model, size, images)


def _problem(
  setup: Setup, precision: str, name: str, size: tuple[int, int], images: int
) -> Problem:
  dtype = "bfloat16" if precision == "bfloat16" else "float32"
  config = dataclasses.replace(transpose.VARIANTS[name], compute_dtype=dtype)
  model = TransPose(config, size, KEYPOINTS)
  batch = ours.episodes(max(size), queries=images)
  pixels = batch.query.images[0, :, : size[0], : size[1]]

  def our_side() -> Side:
    variables = _variables(model)
    run = functools.partial(model.apply, train=False)
    return ours.compiled(run, variables, pixels, precision=precision)

  def torch_side(layout: torch.memory_format, is_compiled: bool = False) -> Side:
    variables = _variables(model)
    state = transpose_names.state_dict(variables, config, size, KEYPOINTS)
    network = transpose_twin.TransPose(dataclasses.asdict(config), size, KEYPOINTS)
    network.load_state_dict({key: torch.tensor(x) for key, x in state.items()})
    network = pytorch.placed(network, setup, layout).eval()
    (stored,) = pytorch.tensors((pixels,), setup)
    normalized = pytorch.normalizer(setup)

    def draw() -> torch.Tensor:
      return network(normalized(stored).contiguous(memory_format=layout))

    function = pytorch.compiled(draw) if is_compiled else draw
    return pytorch.inference(function, precision, setup)

  sides: dict[str, dict[str, Builder]] = {
    "ours": {"": our_side},
    "PyTorch": pytorch.variants(torch_side),
  }
  if setup.device == "gpu":
    compiled = functools.partial(torch_side, is_compiled=True)
    sides["PyTorch compiled"] = pytorch.variants(compiled)
  return Problem(
    name=f"{name}, {images} images, {size[0]} x {size[1]}, {precision}",
    variables={"model": name, "images": images, "precision": precision},
    sides=sides,
    limit=LIMIT[precision],
    memory=True,
    work=_work(name, size, images),
    items=images,
  )


@functools.cache
def _work(name: str, size: tuple[int, int], images: int) -> Work:
  """Counts the products of the twin, without running it; bytes of the weights."""
  config = dataclasses.asdict(transpose.VARIANTS[name])
  with torch.device("meta"), FlopCounterMode(display=False) as counter:
    network = transpose_twin.TransPose(config, size, KEYPOINTS)
    network(torch.empty(images, 3, *size))
  weights = sum(x.numel() for x in network.parameters())
  return Work(counter.get_total_flops(), 4.0 * weights)


def _variables(model: transpose.TransPose) -> Any:
  """Draws variables whose attention stays soft.

  Random HRNet features grow so large that attention would pick single tokens, and
  rounding would decide which (docs/transpose.md#weights-by-rule).
  """
  variables = ours.drawn(lambda: transpose.init_variables(model, 0))
  encoder = variables["params"]["encoder"]
  if model.config.encoder == "hrnet":
    encoder["reduce"]["kernel"] = encoder["reduce"]["kernel"] * 2.0**-16
  return variables
