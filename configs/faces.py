"""Faces (68 landmarks), novel types = eyes, a fifth of the people held out.

  python train.py --config=configs/faces.py --workdir=runs/faces \
      --config.data.path=../shared/data/faces
  python evaluate.py --workdir=runs/faces

From scratch at 96 px: seven minutes on one CPU core; PCK@0.1 on unseen people 97.0
(base) and 91.5 % (novel). More in docs/results.md.
"""

from configs import quickstart
from fskd_jax.config import Config
from fskd_jax.data import keypoints


def get_config() -> Config:
  """Returns the experiment."""
  cfg = quickstart.get_config()
  cfg.name = "faces"
  data = cfg.data
  data.name = "coco_keypoints"
  data.path = "../shared/data/faces"
  data.base = keypoints.FACE_BASE
  data.novel = keypoints.FACE_NOVEL
  data.auxiliary_paths = keypoints.FACE_PATHS
  data.flip_pairs = keypoints.FACE_FLIPS
  data.unseen_species = ()
  data.unseen_fraction = 0.2  # people
  data.validation_species = ()
  data.validation_fraction = 0.05
  data.heldout_fraction = 0.0
  data.class_mode = "mix_class"  # support and query of any people: six images each
  cfg.train.steps = 5_000
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
