"""Builds the configured encoder and normalises its input."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from fskd_jax.config import ModelConfig
from fskd_jax.config.encoders import (
  IMAGE_MEAN,
  IMAGE_STD,
  Triple,
  coarsest_stride,
  encoder_problems,
  encoder_spec,
  used_strides,
)
from fskd_jax.models.attention_encoder import TransPoseEncoder
from fskd_jax.models.efficientnet_lite import SCALES, EfficientNetLite
from fskd_jax.models.hrnet import HRNetS
from fskd_jax.models.pyramid import PyramidEncoder
from fskd_jax.models.resnet import BLOCKS, BasicBlock, ResNet
from fskd_jax.models.simple_pyramid import SimplePyramidEncoder
from fskd_jax.models.small import SmallEncoder
from fskd_jax.models.vit import SIZES, STRIDE, VisionTransformer


def _efficientnet_lite(model: ModelConfig, **common: Any) -> nn.Module:
  inner = model.pyramid.inner if model.pyramid.width else ()
  return EfficientNetLite(used_strides(model), *SCALES[model.encoder], inner, **common)


def _small_resnet(model: ModelConfig, **common: Any) -> nn.Module:
  return ResNet(used_strides(model), BLOCKS[model.encoder], BasicBlock, **common)


def _vision_transformer(model: ModelConfig, **common: Any) -> nn.Module:
  return VisionTransformer(SIZES[model.encoder], common["dtype"])


BUILDERS: dict[str, Callable[..., nn.Module]] = {
  "resnet50": lambda model, **common: ResNet(
    used_strides(model), model.resnet_blocks, **common
  ),
  **dict.fromkeys(BLOCKS, _small_resnet),
  "hrnet": lambda model, **common: HRNetS(model.hrnet_width, **common),
  "small": lambda model, **common: SmallEncoder(
    used_strides(model), model.small_widths, **common
  ),
  **dict.fromkeys(SCALES, _efficientnet_lite),
  **dict.fromkeys(SIZES, _vision_transformer),
}
"""Builder of every row of `config.encoders.ENCODERS`.

A builder takes a `ModelConfig` and momentum, dtype and axis_name of the batch norm. It
returns a module that makes one map for each of `used_strides`, and of
`model.pyramid.inner`, of normalised images [t H W 3], `train`.
"""


def normalize_images(
  images: Num[Array, "*t h w 3"], mean: Triple = IMAGE_MEAN, std: Triple = IMAGE_STD
) -> Float[Array, "*t h w 3"]:
  """Turns RGB 0..255 into float32 with mean 0 and deviation 1.

  Args:
    images: RGB, 0..255.
    mean: Mean of such images, RGB in 0..1; ImageNet's by default.
    std: Deviation of such images, in the same unit.
  """
  channels = (1,) * (images.ndim - 1) + (3,)
  center, scale = (np.reshape(x, channels) * 255 for x in (mean, std))
  return (images.astype(jnp.float32) - center) / scale


def normalize_for(
  config: ModelConfig, images: Num[Array, "*t h w 3"]
) -> Float[Array, "*t h w 3"]:
  """Turns RGB 0..255 into what the encoder of a configuration expects."""
  spec = encoder_spec(config)
  return normalize_images(images, spec.mean, spec.std)


def build_encoder(
  config: ModelConfig,
  image_size: int | tuple[int, int],
  axis_name: str | None = None,
) -> nn.Module:
  """Builds the encoder that a configuration names.

  Args:
    config: The architecture.
    image_size: Side of the input, or its height and width; pixels.
    axis_name: Device axis over which batch statistics are synchronised.

  Raises:
    ValueError: There is no such encoder, or it cannot do what is asked.
  """
  for problem in encoder_problems(config):
    raise ValueError(problem)
  coarsest = coarsest_stride(config)
  height, width = np.broadcast_to(image_size, 2).tolist()
  if height % coarsest or width % coarsest:
    raise ValueError(f"image_size: got {image_size}, expected a multiple of {coarsest}")
  common: dict[str, Any] = dict(
    momentum=config.batch_norm_momentum,
    dtype=jnp.dtype(config.compute_dtype),
    axis_name=axis_name,
  )
  backbone = BUILDERS[config.encoder](config, **common)
  if config.pyramid.width and encoder_spec(config).made:
    return SimplePyramidEncoder(
      backbone,
      config.pyramid,
      stride=STRIDE,
      strides=config.strides,
      dtype=jnp.dtype(config.compute_dtype),
    )
  if config.pyramid.width:
    return PyramidEncoder(
      backbone,
      config.pyramid,
      inputs=used_strides(config),
      strides=config.strides,
      dtype=jnp.dtype(config.compute_dtype),
    )
  if not config.transformer.layers:
    return backbone
  (stride,) = config.strides
  return TransPoseEncoder(
    backbone,
    config.transformer,
    grid=(height // stride, width // stride),
    multiple=coarsest,
    dtype=jnp.dtype(config.compute_dtype),
  )
