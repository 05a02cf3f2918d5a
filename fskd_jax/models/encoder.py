"""Which encoder a configuration names, and what encoders are fed."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from fskd_jax.config import COARSEST_STRIDE, ModelConfig, offered_strides
from fskd_jax.models.resnet import STAGES, ResNet50
from fskd_jax.models.small import SmallEncoder

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, RGB in 0..1."""


def normalize_images(images: Num[Array, "*t l l 3"]) -> Float[Array, "*t l l 3"]:
  """Turns RGB 0..255 into float32 with mean 0 and deviation 1 over ImageNet."""
  channels = (1,) * (images.ndim - 1) + (3,)
  mean, std = (np.reshape(x, channels) * 255 for x in (IMAGE_MEAN, IMAGE_STD))
  return (images.astype(jnp.float32) - mean) / std


def build_encoder(
  config: ModelConfig, image_size: int, axis_name: str | None = None
) -> ResNet50 | SmallEncoder:
  """Makes the encoder that a configuration names.

  Raises:
    ValueError: it does not exist, or cannot do what is asked.
  """
  offered = offered_strides(config)
  if not config.strides or not set(config.strides) <= set(offered):
    raise ValueError(
      f"strides: got {config.strides}, the encoder {config.encoder!r} has {offered}"
    )
  coarsest = COARSEST_STRIDE.get(config.encoder, max(offered))
  if image_size % coarsest:
    raise ValueError(f"image_size: got {image_size}, expected a multiple of {coarsest}")
  common: dict[str, Any] = dict(
    strides=config.strides,
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
    return ResNet50(
      blocks=config.resnet_blocks, freeze_until=config.freeze_until, **common
    )
  if config.freeze_until:
    raise ValueError(
      f"freeze_until: got {config.freeze_until!r}, "
      "expected '' (the small encoder learns as a whole)"
    )
  return SmallEncoder(widths=config.small_widths, **common)
