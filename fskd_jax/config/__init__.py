"""Configuration: schema, checks, and conversion to plain values."""

from fskd_jax.config.encoders import (
  coarsest_stride,
  layer_rates,
  offered_strides,
  rates,
)
from fskd_jax.config.fields import walk
from fskd_jax.config.schema import (
  CROP_MARGIN,
  Config,
  DataConfig,
  EvalConfig,
  LossConfig,
  ModelConfig,
  OptimConfig,
  PoseConfig,
  PyramidConfig,
  SelfSupervisedConfig,
  SourceConfig,
  TrainConfig,
  TransformerConfig,
  crop_size,
  source_data,
)
from fskd_jax.config.serialization import (
  flatten,
  from_dict,
  may_change,
  shared,
  to_dict,
)
from fskd_jax.config.validation import validate

__all__ = [
  "CROP_MARGIN",
  "Config",
  "DataConfig",
  "EvalConfig",
  "LossConfig",
  "ModelConfig",
  "OptimConfig",
  "PoseConfig",
  "PyramidConfig",
  "SelfSupervisedConfig",
  "SourceConfig",
  "TrainConfig",
  "TransformerConfig",
  "coarsest_stride",
  "crop_size",
  "flatten",
  "from_dict",
  "layer_rates",
  "may_change",
  "offered_strides",
  "rates",
  "shared",
  "source_data",
  "to_dict",
  "validate",
  "walk",
]
