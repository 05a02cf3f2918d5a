"""(b) One episode of 1 + 5 images over the number of keypoints; (c) cached kernels.

The encoder and the head (all behind the encoder, on given feature maps) apart. Ours
normalises uint8 images within the program, PyTorch in the same call.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import floor
from benchmarks.harness.problem import (
  MEMORY_LIMIT,
  Builder,
  Problem,
  Setup,
  Side,
  SkippedError,
  Work,
)
from benchmarks.opponents import ours, pytorch, torch_literal, torch_twin
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.encoder import normalize_images

QUERIES = 5
LIMIT = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 1e-1}
COPIES = 4.5
"""Of the kernels of side 5 that PyTorch holds at once; measured with 10,000."""
_KINDS = {
  "PyTorch": torch_twin.LightweightDetector,
  "PyTorch literal": torch_literal.LiteralDetector,
}


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the encoder, the head over keypoints, and further query images."""
  side = 384 if setup.is_full else 64
  sides = (96, 192, 384) if setup.is_full else (64,)
  counts = (11, 100, 1000, 10_000) if setup.is_full else (11, 100)
  for precision in setup.precisions:
    for size in sides:
      yield _encoder(setup, precision, size)
    for keypoints in counts:
      yield _head(setup, precision, side, keypoints)
    for keypoints in (11, 1000) if setup.is_full else (11,):
      yield _further_image(setup, precision, side, keypoints)


def _encoder(setup: Setup, precision: str, side: int) -> Problem:
  images = 1 + QUERIES

  def our_side() -> Side:
    network = FewShotDetector(ours.model_config(precision), side)
    return ours.compiled(
      functools.partial(_encode, network),
      ours.random_variables(network),
      ours.episodes(side, queries=images).query.images[0],
      precision=precision,
    )

  def torch_side(layout: torch.memory_format, is_compiled: bool = False) -> Side:
    network = _loaded("PyTorch", setup, precision, side, layout).eval()
    pixels = ours.episodes(side, queries=images).query.images[0]
    (stored,) = pytorch.tensors((pixels,), setup)
    normalized = pytorch.normalizer(setup)

    def encode() -> list[Tensor]:
      return [x.movedim(1, -1) for x in network.encoder(normalized(stored))]

    function = pytorch.compiled(encode) if is_compiled else encode
    return pytorch.inference(function, precision, setup)

  return Problem(
    name=f"encoder, {images} images, {side} px, {precision}",
    variables={"part": "encoder", "side": side, "precision": precision},
    sides={"ours": {"": our_side}} | _pytorch(setup, torch_side),
    limit=LIMIT[precision],
    memory=True,
    work=floor.encoder(side, images),
    items=images,
  )


def _head(setup: Setup, precision: str, side: int, keypoints: int) -> Problem:
  batch = ours.episodes(side, queries=QUERIES, keypoints=keypoints)
  largest = 4.0 * keypoints * 25 * 2048  # bytes of the kernels of side 5

  def our_side() -> Side:
    network = FewShotDetector(ours.model_config(precision), side)
    return ours.compiled(
      functools.partial(ours.apply_head, network),
      ours.random_variables(network),
      ours.feature_maps(side, 1 + QUERIES),
      batch,
      precision=precision,
    )

  def torch_side(
    layout: torch.memory_format, name: str = "PyTorch", is_compiled: bool = False
  ) -> Side:
    if name == "PyTorch literal" and COPIES * largest > MEMORY_LIMIT:
      raise SkippedError(
        f"PyTorch holds {COPIES} times the kernels of side 5, "
        f"{COPIES * largest / 2**30:.1f} GiB, and loops over {keypoints} keypoints"
      )
    network = _loaded(name, setup, precision, side, layout).eval()
    maps = ours.feature_maps(side, 1 + QUERIES)
    network.encoder = pytorch.GivenFeatures(maps, layout, setup)
    _, points, visible, _ = pytorch.inputs(batch, setup)
    blank = torch.zeros(1, 1 + QUERIES, 1, device=points.device)

    def detect() -> list[Tensor]:
      return network(blank[:, :1], points, visible, blank[:, 1:])[0]

    function = pytorch.compiled(detect) if is_compiled else detect
    return pytorch.inference(function, precision, setup)

  literal = functools.partial(torch_side, name="PyTorch literal")
  twins = _pytorch(setup, torch_side)
  is_long = keypoints > 1000
  if is_long:  # one layout: a run takes a minute on a CPU
    twins = {name: {"nchw": x["nchw"]} for name, x in twins.items()}
  return Problem(
    name=f"head, {keypoints} keypoints, {side} px, {precision}",
    variables={
      "part": "head",
      "side": side,
      "keypoints": keypoints,
      "precision": precision,
    },  # fmt: skip
    sides={
      "ours": {"": our_side},
      **twins,
      "PyTorch literal": pytorch.variants(literal),
    },
    limit=LIMIT[precision],
    memory=True,
    is_long=is_long,
    work=floor.head(side, keypoints, queries=QUERIES),
  )


def _further_image(setup: Setup, precision: str, side: int, keypoints: int) -> Problem:
  batch = ours.episodes(side, queries=1, keypoints=keypoints)

  def detect() -> Side:
    network = FewShotDetector(ours.model_config(precision), side)
    variables = ours.random_variables(network)
    kernels = network.apply(
      variables,
      batch.support.images,
      batch.support.keypoints,
      batch.support.visible,
      method="encode_support",
    )
    run = functools.partial(network.apply, method="detect")
    return ours.compiled(
      run, variables, batch.query.images, kernels, precision=precision
    )

  def encoder_alone() -> Side:
    network = FewShotDetector(ours.model_config(precision), side)
    run = functools.partial(_encode, network)
    variables = ours.random_variables(network)
    return ours.compiled(run, variables, batch.query.images[0], precision=precision)

  def torch_side(layout: torch.memory_format, is_compiled: bool = False) -> Side:
    network = _loaded("PyTorch", setup, precision, side, layout).eval()
    support, points, visible, query = pytorch.inputs(batch, setup)
    normalized = pytorch.normalizer(setup)
    with torch.inference_mode():
      maps = network.encoder(normalized(support)[0])[0][None]
      means = torch_twin.masked_mean(network.pool(maps, points), visible)
      kernels = network.weight_generator_list[0](means)

    def detect() -> list[Tensor]:
      maps = network.encoder(normalized(query)[0])[0][None]
      found = (network.detect(maps, *group) for group in kernels)
      pairs = zip(network.output_sr_list, found)
      return [torch_twin.apply_to_maps(layers, x) for layers, x in pairs]

    function = pytorch.compiled(detect) if is_compiled else detect
    return pytorch.inference(function, precision, setup)

  sides: dict[str, dict[str, Builder]] = {
    "ours": {"": detect},
    "our encoder alone": {"": encoder_alone},
    **_pytorch(setup, torch_side),
  }
  return Problem(
    name=f"further query image, {keypoints} keypoints, {side} px, {precision}",
    variables={
      "part": "cached",
      "side": side,
      "keypoints": keypoints,
      "precision": precision,
    },  # fmt: skip
    sides=sides,
    checks=(("ours", "PyTorch"),),
    limit=LIMIT[precision],
    work=floor.encoder(side, 1) + _detection(side, keypoints),
    items=1,
  )


def _encode(network: FewShotDetector, variables: Any, images: Any) -> Any:
  """Encodes uint8 [t L L 3]."""
  run = lambda bound: bound.encoder(normalize_images(images), train=False)
  return network.apply(variables, method=run)


def _detection(side: int, keypoints: int) -> Work:
  """Counts SMD with kernels that are there, on one image."""
  cells, taps = (side // 32) ** 2, keypoints * (1 + 9 + 25)
  flops = 2.0 * cells * taps * floor.CHANNELS
  return Work(flops, 4.0 * taps * floor.CHANNELS)


def _loaded(
  name: str, setup: Setup, precision: str, side: int, layout: torch.memory_format
) -> Any:
  config = ours.model_config(precision)
  variables = ours.random_variables(FewShotDetector(config, side))
  return pytorch.network(_KINDS[name], config, side, variables, layout, setup)


def _pytorch(setup: Setup, build: Any) -> dict[str, dict[str, Builder]]:
  """Returns the twin and, on a GPU, the twin compiled."""
  sides = {"PyTorch": pytorch.variants(build)}
  if setup.device == "gpu":
    compiled = functools.partial(build, is_compiled=True)
    sides["PyTorch compiled"] = pytorch.variants(compiled)
  return sides
