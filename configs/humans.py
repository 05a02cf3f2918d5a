"""Humans in sports (14 joints), novel types = knees, elbows, neck.

  python train.py --config=configs/humans.py --workdir=runs/humans \
      --config.data.path=../shared/data/humans
  python evaluate.py --workdir=runs/humans

A fifth of the images is held out (the file names no people). From scratch at 96 px:
55 minutes on one CPU core; PCK@0.1 38.4 (base) and 25.1 % (novel). More in
docs/results.md.
"""

from configs import quickstart
from fskd_jax.config import Config
from fskd_jax.data import keypoints


def get_config() -> Config:
  """Returns the experiment."""
  cfg = quickstart.get_config()
  cfg.name = "humans"
  data = cfg.data
  data.name = "coco_keypoints"
  data.path = "../shared/data/humans"
  data.base = keypoints.HUMAN_BASE
  data.novel = keypoints.HUMAN_NOVEL
  data.auxiliary_paths = keypoints.HUMAN_PATHS
  data.unseen_species = ()
  data.validation_species = ()
  data.heldout_fraction = 0.2
  data.validation_fraction = 0.025
  data.rotation_probability = 0.6
  data.rotation_degrees = 30.0
  data.scale_range = (0.8, 1.25)
  cfg.model.small_widths = (32, 64, 128, 192, 256)
  cfg.optim.learning_rate = 3e-3
  cfg.train.steps = 30_000
  cfg.train.validate_every = 1_000
  cfg.train.validation_episodes = 300
  cfg.train.checkpoint_every = 1_000
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
