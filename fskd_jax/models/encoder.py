"""Builds the configured encoder and normalises its input."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from fskd_jax.config import ModelConfig, coarsest_stride, offered_strides
from fskd_jax.models.attention_encoder import TransPoseEncoder
from fskd_jax.models.hrnet import HRNetS
from fskd_jax.models.resnet import STAGES, ResNet50
from fskd_jax.models.small import SmallEncoder

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, RGB in 0..1."""


def normalize_images(images: Num[Array, "*t h w 3"]) -> Float[Array, "*t h w 3"]:
  """Turns RGB 0..255 into float32 with mean 0 and deviation 1 over ImageNet."""
  channels = (1,) * (images.ndim - 1) + (3,)
  mean, std = (np.reshape(x, channels) * 255 for x in (IMAGE_MEAN, IMAGE_STD))
  return (images.astype(jnp.float32) - mean) / std


def build_encoder(
  config: ModelConfig,
  image_size: int | tuple[int, int],
  axis_name: str | None = None,
) -> ResNet50 | SmallEncoder | HRNetS | TransPoseEncoder:
  """Makes the encoder that a configuration names.

  Args:
    config: of the model.
    image_size: side of the input, or its height and width; pixels.
    axis_name: device axis over which batch statistics are synchronised.

  Raises:
    ValueError: it does not exist, or cannot do what is asked.
  """
  offered = offered_strides(config)
  if not config.strides or not set(config.strides) <= set(offered):
    raise ValueError(
      f"strides: got {config.strides}, the encoder {config.encoder!r} has {offered}"
    )
  coarsest = coarsest_stride(config)
  height, width = np.broadcast_to(image_size, 2).tolist()
  if height % coarsest or width % coarsest:
    raise ValueError(f"image_size: got {image_size}, expected a multiple of {coarsest}")
  backbone = _build_backbone(config, axis_name)
  if not config.transformer.layers:
    return backbone
  if len(config.strides) != 1:
    raise ValueError(
      f"strides: got {config.strides}, expected one (the transformer works on one map)"
    )
  (stride,) = config.strides
  return TransPoseEncoder(
    backbone,
    config.transformer,
    grid=(height // stride, width // stride),
    multiple=coarsest,
    dtype=jnp.dtype(config.compute_dtype),
  )


def _build_backbone(
  config: ModelConfig, axis_name: str | None
) -> ResNet50 | SmallEncoder | HRNetS:
  common: dict[str, Any] = dict(
    momentum=config.batch_norm_momentum,
    dtype=jnp.dtype(config.compute_dtype),
    axis_name=axis_name,
  )
  if config.encoder == "resnet50":
    stages = ("", "stem", *STAGES)
    if config.freeze_until not in stages:
      raise ValueError(
        f"freeze_until: got {config.freeze_until!r}, expected one of {stages}"
      )
    return ResNet50(config.strides, config.resnet_blocks, config.freeze_until, **common)
  if config.freeze_until:
    raise ValueError(
      f"freeze_until: got {config.freeze_until!r}, "
      f"expected '' (the encoder {config.encoder!r} learns as a whole)"
    )
  if config.encoder == "hrnet":
    return HRNetS(config.hrnet_width, **common)
  return SmallEncoder(config.strides, config.small_widths, **common)
