"""How far two detectors are apart: their parameters, and every stage of their work."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array

from fskd_jax.config import Config
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.kernels import materialize

NUM_TYPES = 5


class Model(NamedTuple):
  """A detector: its configuration and its variables."""

  config: Config
  variables: dict[str, Any]


class Difference(NamedTuple):
  """Of two arrays of one name.

  Attributes:
    name: of the parameter or stage.
    max_abs: largest absolute difference.
    relative: that over the largest absolute value in either; nan if either holds one.
  """

  name: str
  max_abs: float
  relative: float


class Comparison(NamedTuple):
  """What `compare` found.

  Attributes:
    parameters: of each name that both have, in one shape.
    stages: in the order of work; empty if the parameters do not correspond.
    unmatched: names that one has alone, or with another shape.
  """

  parameters: list[Difference]
  stages: list[Difference]
  unmatched: list[str]

  def is_equal(self, tolerance: float) -> bool:
    """Says whether every relative difference is within the tolerance."""
    differences = self.parameters + self.stages
    return not self.unmatched and all(d.relative <= tolerance for d in differences)


def compare(a: Model, b: Model) -> Comparison:
  """Compares parameters, and stages on seeded images of the first one's size.

  Raises:
    ValueError: the second does not take images of that size.
  """
  first, second = (
    {
      name: value
      for name, value in torch_names.state_dict(m.variables, m.config.model).items()
      if not name.endswith(torch_names.COUNTER)
    }
    for m in (a, b)
  )
  shapes = [
    {(name, value.shape) for name, value in tensors.items()}
    for tensors in (first, second)
  ]
  unmatched = sorted({name for name, _ in shapes[0] ^ shapes[1]})
  parameters = [
    difference(name, first[name], second[name])
    for name in first
    if name not in unmatched
  ]
  stages = [] if unmatched else _compare_stages(a, b)
  return Comparison(parameters, stages, unmatched)


def difference(name: str, a: Any, b: Any) -> Difference:
  """Measures two arrays of one shape."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  max_abs = float(np.abs(a - b).max())
  largest = float(max(np.abs(a).max(), np.abs(b).max()))
  return Difference(name, max_abs, max_abs / largest if max_abs else 0.0)


def run_stages(
  detector: FewShotDetector, variables: Mapping[str, Any], batch: EpisodeBatch
) -> dict[str, Array]:
  """Detects, and returns what every stage gave.

  Returns:
    By name: the encoder after its stem and each stage, its maps, the prototypes and
    kernels of each scale, the heat-maps of each group.
  """
  stages: dict[str, Array] = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    path = context.module.path
    if context.method_name != "__call__" or not path:
      return result
    part, *inner = path
    if part == "encoder" and not inner:
      for stride, maps in zip(detector.config.strides, result):
        stages[f"encoder map, stride {stride}"] = maps
    elif part == "encoder" and len(inner) == 1 and inner[0].startswith("layer"):
      # The last block of a stage is what stays.
      stages[f"encoder {inner[0].split('_')[0]}"] = result
    elif path == ("encoder", "bn1"):
      stages["encoder stem"] = result
    elif part.startswith("kernel_generator_") and not inner:
      stride = part.removeprefix("kernel_generator_")
      stages[f"prototypes, stride {stride}"] = args[0]
      for size, group in zip(detector.config.kernel_sizes, result):
        stages[f"kernels, stride {stride}, size {size}"] = materialize(group).taps
    elif part.startswith("upsampler_") and not inner:
      stride, size = part.removeprefix("upsampler_").split("_")
      stages[f"heat-maps, stride {stride}, size {size}"] = result
    return result

  with nn.intercept_methods(record):
    detector.apply(variables, batch, train=False)
  return stages


def seeded_episode(image_size: int) -> EpisodeBatch:
  """Draws one episode of one support and one query image with five types."""
  rng = np.random.default_rng(0)

  def views() -> Views:
    unused = np.zeros((1, 1, 1), np.float32)
    return Views(
      images=rng.integers(0, 256, (1, 1, image_size, image_size, 3), np.uint8),
      keypoints=rng.uniform(0, image_size - 1, (1, 1, NUM_TYPES, 2)).astype(np.float32),
      visible=np.ones((1, 1, NUM_TYPES), bool),
      to_original=unused,
      box=unused,
      image_size=unused,
      instance=unused,
    )

  ids = np.arange(NUM_TYPES, dtype=np.int32)[None]
  return EpisodeBatch(views(), views(), ids, ids < 0, np.zeros(1, np.int32))


def _compare_stages(a: Model, b: Model) -> list[Difference]:
  side = a.config.data.image_size
  batch = seeded_episode(side)

  def compiled(cfg: Config) -> Any:
    return jax.jit(functools.partial(run_stages, FewShotDetector(cfg.model, side)))

  run_a = compiled(a.config)
  run_b = run_a if a.config.model == b.config.model else compiled(b.config)
  with jax.default_matmul_precision("highest"):
    first, second = run_a(a.variables, batch), run_b(b.variables, batch)
  # Compilation sorts the names; this is the order of work.
  order = ("encoder stem", "encoder layer", "encoder map", "prototypes", "kernels")
  names = sorted(first, key=lambda n: [not n.startswith(start) for start in order])
  return [difference(name, first[name], second[name]) for name in names]
