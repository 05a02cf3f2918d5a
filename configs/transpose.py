"""TransPose on COCO persons, as published: 256 x 192, Adam, cosine, flip test, DARK.

  python train.py --config=configs/transpose.py:tp_h_a4 --workdir=runs/tp_h_a4 \
      --config.data.path=coco/train2017 --config.model.pretrained=hrnet_w48.pth
  python evaluate.py --workdir=runs/tp_h_a4 --config.data.path=coco/val2017 \
      --config.eval.settings="('all/base',)" \
      --config.pose.detections=COCO_val2017_detections_AP_H_56_person.json

ICCV 2021 and its official code. After the colon: tp_r_a3, tp_r_a4 (default),
tp_h_s, tp_h_a4 or tp_h_a6. A data folder holds annotations.json (person_keypoints_
train2017.json or person_keypoints_val2017.json under that name) and images/. Published
AP on val2017: 71.7, 72.6, 74.2, 75.3, 75.8 with these detections; with annotated boxes
(without the last line) 73.8, 75.1, 76.1, 77.5, 78.1. Weeks on a CPU: this wants GPUs.

Unlike the original: the rate falls with every step instead of every epoch, batch norm
is synchronised over devices, and a joint just outside the crop has no target.
"""

import copy

from fskd_jax.config import (
  Config,
  DataConfig,
  EvalConfig,
  LossConfig,
  OptimConfig,
  PoseConfig,
  TrainConfig,
)
from fskd_jax.data import keypoints
from fskd_jax.messages import require_one_of
from fskd_jax.models.transpose import VARIANTS

PERSONS = 149_813
"""With a visible keypoint in train2017."""

SCHEDULES = {
  "tp_r_a3": (230, 28),
  "tp_r_a4": (230, 20),
  "tp_h_s": (240, 32),
  "tp_h_a4": (240, 14),
  "tp_h_a6": (240, 56),
}
"""Epochs, and persons per step over all devices."""


def get_config(variant: str = "tp_r_a4") -> Config:
  """Returns the experiment.

  Raises:
    ValueError: there is no such variant.
  """
  require_one_of("variant", variant, VARIANTS)
  epochs, persons_per_step = SCHEDULES[variant]
  steps_per_epoch = PERSONS // persons_per_step
  return Config(
    name=variant,
    task="pose",
    data=DataConfig(
      name="coco_keypoints",
      path="coco/train2017",
      image_size=256,
      image_width=192,
      base=keypoints.COCO_PERSON,
      validation_fraction=0.02,
    ),
    model=copy.deepcopy(VARIANTS[variant]),
    loss=LossConfig(heatmap="mse", target_sigma=2 * 4 / 256),  # two cells of stride 4
    optim=OptimConfig(learning_rate=1e-4, schedule="cosine", final_rate=0.1),
    train=TrainConfig(
      steps=epochs * steps_per_epoch,
      episodes_per_step=persons_per_step,
      log_every=50,
      validate_every=steps_per_epoch,
      validation_episodes=2_000,
      picture_every=steps_per_epoch,
      checkpoint_every=2_000,
    ),
    eval=EvalConfig(batch_episodes=32, settings=("validation/base",)),
    pose=PoseConfig(lower_body=keypoints.COCO_LOWER_BODY),
  )
