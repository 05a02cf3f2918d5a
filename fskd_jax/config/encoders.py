"""Strides that the encoders offer."""

from fskd_jax.config.schema import ModelConfig


def coarsest_stride(model: ModelConfig) -> int:
  """Returns the stride of the coarsest map computed: image sides are multiples of it.

  Raises:
    ValueError: there is no such encoder.
  """
  if model.encoder == "hrnet":
    return 16
  offered = offered_strides(model)
  # ResNet stops at the last map that is used; the small encoder goes all the way down.
  used = model.strides if model.encoder == "resnet50" else ()
  return max(used or offered)


def offered_strides(model: ModelConfig) -> tuple[int, ...]:
  """Returns the strides of the feature maps that an encoder has.

  Raises:
    ValueError: there is no such encoder.
  """
  if model.encoder == "resnet50":
    return (8, 16, 32)
  if model.encoder == "hrnet":
    return (4,)
  if model.encoder == "small":
    return tuple(2**i for i in range(3, len(model.small_widths) + 1))
  raise ValueError(f"model.encoder = {model.encoder!r}: there is no such encoder")
