"""A mixture of sources that a tiny encoder can train on: shapes and photographs."""

import dataclasses

from fskd_jax.config import DataConfig, SelfSupervisedConfig, SourceConfig
from helpers import shapes

SLOTS = 3


def config(folder, **fields):
  """Returns an experiment of seconds; `fields` override those of `cfg.data`."""
  cfg = shapes.config(folder)
  shape = dataclasses.replace(cfg.data, path=str(folder), class_mode="mix_class")
  other = dataclasses.replace(
    shape,
    base=("north", "south", "west"),
    auxiliary_paths=(),
    novel=(),
    self_supervised=SelfSupervisedConfig(share=0.5),
  )
  plain = DataConfig(
    name="unlabelled",
    path=str(folder / "images"),
    self_supervised=SelfSupervisedConfig(share=1.0, region="image"),
  )
  cfg.data = DataConfig(
    mixture=(
      SourceConfig(name="shapes", weight=2.0, data=shape),
      SourceConfig(name="others", data=other),
      SourceConfig(name="plain", data=plain),
    ),
    slots=SLOTS,
    executor="resident",
    image_size=shape.image_size,
    cache_dir=shape.cache_dir,
  )
  for name, value in fields.items():
    setattr(cfg.data, name, value)
  return cfg
