"""Any keypoints: many data sets at once, for a detector of things it never saw.

  fskd data stamps --out data_cache/stamps
  fskd data figures --out data_cache/figures --per-kind 800
  python train.py --config=configs/any_keypoints.py --workdir=runs/any \
      --config.data.path=../shared/data
  python evaluate.py --workdir=runs/any

The detector that comes with the package (docs/model-card.md). `data.path` is a folder
with one folder per source (annotations.json and images/); sources that it lacks are
left out with a warning. Drawn creatures and figures, and photographs whose licences
allow passing on what was learned from them (MIT, GPL, LGPL); any_keypoints_research.py
has more. Of the episodes, 40 % are self-supervised.
--config.data.holdout='("lips",)' trains without a source, and evaluates on it.

configs/any_keypoints.py:inner sets other maps of the encoder beside the pyramid, with
which half as many episodes end level (docs/model-card.md).
"""

import os
from typing import Any

from configs import quickstart
from fskd_jax.config import (
  Config,
  DataConfig,
  ModelConfig,
  OptimConfig,
  PyramidConfig,
  SelfSupervisedConfig,
  SourceConfig,
)
from fskd_jax.messages import require_one_of

VARIANTS = ("package", "inner")

CLIP = r"^(.*?)_?(img|frame)\d+"
"""The clip in the name of a frame."""

STAMP = r"^(.*)_\d+"
"""The stamp in the name of a composed picture."""

SELF_SUPERVISED = 0.4
"""Of the episodes of every source."""


def source(folder: str, weight: float = 1.0, **fields: Any) -> SourceConfig:
  """Returns a source in the folder of this name; all of its types are trained on.

  A tenth of its images is kept to test, another tenth to validate.

  Args:
    folder: The name of the source and of its folder.
    weight: The weight of its episodes.
    **fields: Fields of its `DataConfig` that differ from those below.
  """
  usual = {
    "name": "coco_keypoints",
    "path": folder,
    "heldout_fraction": 0.1,
    "validation_fraction": 0.1,
    "min_support_types": 2,
    "min_query_types": 1,
    "self_supervised": SelfSupervisedConfig(share=SELF_SUPERVISED),
    "crop": "box",
    "crop_margin": 1.3,
    "rotation_probability": 0.6,
    "rotation_degrees": 30.0,
    "tilt_degrees": 30.0,
    "scale_range": (0.75, 1.25),
    "shift": 0.08,
  }
  data = DataConfig(**(usual | fields))
  return SourceConfig(name=folder, weight=weight, optional=bool(data.path), data=data)


def sources() -> tuple[SourceConfig, ...]:
  """Returns the sources whose licences allow passing on a trained network."""
  return (
    source(
      "creatures",
      weight=3.0,
      name="synthetic_creatures",
      path="",
      images_per_species=400,
      heldout_fraction=0.0,
      validation_fraction=0.0,
      unseen_species=("fox", "zebra", "pig"),
      validation_species=("rabbit",),
    ),
    source("stamps", weight=3.0, path=made("stamps/animals"), group_pattern=STAMP),
    source("figures", weight=2.0, path=made("figures")),
    source(
      "objects",
      name="unlabelled",
      path=made("stamps/objects"),
      group_pattern=STAMP,
      self_supervised=SelfSupervisedConfig(share=1.0),
    ),
    source("tongue_ultrasound", group_pattern=CLIP),
    source("lips", group_pattern=CLIP),
    source("mollusk_shells", flip_probability=0.0),
    source("glue_tubes"),
    source("mouse_openfield"),
    source("reaching_hand"),
  )


def made(folder: str) -> str:
  """Returns the folder of a source that a command made in data_cache."""
  return os.path.abspath(os.path.join("data_cache", folder))


def get_config(variant: str = "package") -> Config:
  """Returns the experiment.

  Args:
    variant: One of `VARIANTS`.

  Raises:
    ValueError: There is no such variant.
  """
  require_one_of("variant", variant, VARIANTS)
  cfg = quickstart.get_config()
  cfg.name = "any_keypoints"
  cfg.data = DataConfig(
    path="../shared/data",
    mixture=sources(),
    slots=24,
    executor="resident",
    image_size=192,
    color_jitter=0.4,
    grey_probability=0.3,
  )
  cfg.model = ModelConfig(
    encoder="efficientnet_lite2",
    pretrained="efficientnet_lite2",
    strides=(8,),
    freeze_until="stage7",
    batch_norm="frozen",
    pyramid=PyramidConfig(width=128, inputs=(8, 16, 32), beside=(8, 16)),
    kernel_sizes=(1,),
    residual_crm=True,
    similarity="cosine",
    temperature=20.0,
    heatmap_upsampling="bilinear",
  )
  if variant == "inner":
    pyramid = cfg.model.pyramid
    pyramid.beside, pyramid.inner, pyramid.weights = (16,), ("stage3_1",), (1.0, 0.5)
  cfg.optim = OptimConfig(
    learning_rate=2e-3,
    schedule="cosine",
    warmup_steps=60,
    clip_norm=1.0,
  )
  cfg.train.episodes_per_step = 4
  cfg.train.queries = 2
  cfg.train.steps = 5_000
  cfg.train.validation_episodes = 30
  cfg.eval.queries = 3
  cfg.eval.search_episodes = 0
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
