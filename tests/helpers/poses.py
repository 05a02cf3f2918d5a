"""A tiny pose experiment on `shapes`, in crops that are not square."""

from fskd_jax.config import PoseConfig, TransformerConfig
from helpers import shapes

SIZE = (48, 32)
"""Height and width of the crops."""


def config(folder, **train):
  """Returns an experiment of seconds; `train` overrides fields of `cfg.train`."""
  settings = {
    "steps": 60,
    "episodes_per_step": 8,
    "queries": 5,
    "rotate_support": False,
    "checkpoint_every": 20,
    "validate_every": 30,
    "picture_every": 60,
  }
  cfg = shapes.config(folder, **settings | train)
  cfg.name, cfg.task = "poses", "pose"
  cfg.data.image_size, cfg.data.image_width = SIZE
  cfg.data.base, cfg.data.novel = ("north", "east", "south", "middle"), ()
  cfg.data.auxiliary_paths = ()
  cfg.data.color_jitter = 0.1
  cfg.model.small_widths = (8, 8, 8)
  cfg.model.transformer = TransformerConfig(layers=1, width=8, hidden=8, heads=2)
  cfg.loss.target_sigma = 6 / 48
  cfg.eval.settings = ("unseen/base", "seen/base")
  cfg.pose = PoseConfig(rotation_std=10.0, scale_std=0.1, lower_body=("south",))
  return cfg
