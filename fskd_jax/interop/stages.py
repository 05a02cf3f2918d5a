"""Computes the output of every stage of a model on fixed, seeded images."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array

from fskd_jax.config import Config, ModelConfig, crop_size
from fskd_jax.config.encoders import encoder_spec
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.transpose import TransPose

NUM_TYPES = 5


def order(model: ModelConfig) -> list[str]:
  """Returns the prefixes of the stages' names, up to kernels, in computing order."""
  stages = [f"encoder {stage}" for stage in encoder_spec(model).stages]
  parts = (
    "encoder tokens",
    "encoder attention",
    "encoder map",
    "prototypes",
    "kernels",
  )
  return [*stages, *parts]


def seeded_inputs(cfg: Config) -> Any:
  """Returns random input for a configuration's model, the same at every call."""
  if cfg.task != "pose":
    return seeded_episode(cfg.data.image_size)
  shape = (1, *crop_size(cfg.data), 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def run_stages(
  model: FewShotDetector | TransPose, variables: Mapping[str, Any], inputs: Any
) -> dict[str, Array]:
  """Applies a model, and returns the output of every stage.

  Returns:
    The outputs by name: the encoder after its stem, after each stage and after each
    layer of attention, its maps, the prototypes and kernels of each scale, and the
    heat-maps of each group.
  """
  stages: dict[str, Array] = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if context.method_name == "_prototypes":
      for stride, prototypes in zip(model.config.strides, result):
        stages[f"prototypes, stride {stride}"] = prototypes
    elif context.method_name == "__call__" and context.module.path:
      stages.update(_stages(context.module.path, result, model.config))
    return result

  with nn.intercept_methods(record):
    output: Any = model.apply(variables, inputs, train=False)
  if isinstance(model, TransPose):
    return stages | {"heat-maps": output}
  groups: Any = model.apply(
    variables, *inputs.support.annotations(), method="encode_support"
  )
  names = itertools.product(model.config.strides, model.config.kernel_sizes)
  for (stride, size), kernels in zip(names, groups, strict=True):
    stages[f"kernels, stride {stride}, size {size}"] = kernels.taps
  return stages


def _stages(
  path: tuple[str, ...], result: Any, config: ModelConfig
) -> dict[str, Array]:
  part, *inner = path
  if part == "encoder" and not inner:
    return {f"encoder map, stride {s}": x for s, x in zip(config.strides, result)}
  if part == "encoder":
    return _encoder_stage("/".join(inner).removeprefix("backbone/"), result, config)
  if part.startswith("upsampler_") and not inner:
    stride, size = part.removeprefix("upsampler_").split("_")
    return {f"heat-maps, stride {stride}, size {size}": result}
  return {}


def _encoder_stage(inner: str, result: Any, config: ModelConfig) -> dict[str, Array]:
  if inner == "reduce":
    return {"encoder tokens": result}
  # Later modules of a stage replace earlier ones; of HRNet's branches, take the finest.
  for stage, pattern in encoder_spec(config).stages.items():
    if re.fullmatch(pattern, inner):
      finest = result[0] if isinstance(result, list) else result
      return {f"encoder {stage}": finest}
  if layer := re.fullmatch(r"transformer/layer(\d+)", inner):
    return {f"encoder attention {int(layer[1]) + 1:2d}": result}
  return {}


def seeded_episode(image_size: int) -> EpisodeBatch:
  """Returns a random episode of one support and one query image with five types."""
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
