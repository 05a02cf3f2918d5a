"""Quickstart: learns on synthetic creatures from scratch, on two CPU cores.

  python train.py --config=configs/quickstart.py --workdir=runs/quickstart
  python evaluate.py --workdir=runs/quickstart

Small encoder, 96 px, softmax cross-entropy. Four minutes of training on two idle cores;
PCK@0.1 on unseen species 77.3 (base) and 74.4 % (novel). docs/results.md has the rest,
and what changes with the paper's loss.
"""

from fskd_jax.config import (
  Config,
  DataConfig,
  EvalConfig,
  LossConfig,
  ModelConfig,
  OptimConfig,
  TrainConfig,
)
from fskd_jax.data import keypoints


def get_config() -> Config:
  """Returns the experiment."""
  return Config(
    name="quickstart",
    data=DataConfig(
      name="synthetic_creatures",
      images_per_species=300,
      executor="resident",
      image_size=96,
      base=keypoints.ANIMAL_BASE,
      novel=keypoints.ANIMAL_NOVEL,
      auxiliary_paths=keypoints.ANIMAL_PATHS + keypoints.ANIMAL_BODY_PATHS,
      unseen_species=("fox", "zebra", "pig"),
      validation_species=("rabbit",),
      heldout_fraction=1 / 6,
      crop="box",
      crop_margin=1.3,
      scale_range=(0.85, 1.15),
      shift=0.05,
      color_jitter=0.3,
    ),
    model=ModelConfig(
      encoder="small",
      strides=(8,),
      small_widths=(24, 48, 96, 128, 160),
      batch_norm_momentum=0.95,
      kernel_sizes=(1,),
      residual_crm=True,
      similarity="cosine",
      temperature=20.0,
      heatmap_upsampling="bilinear",
      freeze_until="",
    ),
    loss=LossConfig(heatmap="cross_entropy", mfcl_weight=0.0),
    optim=OptimConfig(
      learning_rate=5e-3, schedule="cosine", warmup_steps=60, clip_norm=1.0
    ),
    train=TrainConfig(
      steps=8_000,
      episodes_per_step=2,
      shots=1,
      queries=2,
      rotate_support=True,
      validate_every=1_000,
      backend="single",
    ),
    eval=EvalConfig(
      episodes=300,
      settings=(
        "unseen/novel",
        "unseen/base",
        "unseen/other",
        "seen/novel",
        "seen/base",
      ),
    ),
  )
