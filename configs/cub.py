"""CUB-200-2011, 50 species unseen, novel types = forehead, eyes, wings; 1 shot.

  fskd data prepare cub_keypoints --source downloads/CUB_200_2011 --out data_cache/cub
  python train.py --config=configs/cub.py --workdir=runs/cub \
      --config.model.pretrained=resnet50.safetensors
  python evaluate.py --workdir=runs/cub

Five shots: --config.train.shots=5 --config.eval.shots=5 with train.py.
Another folder than data_cache/cub after the colon: configs/cub.py:FOLDER. The settings
of the paper are those of configs/lightweight.py. Never run: the images were not
available.
"""

from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.published import facts
from fskd_jax.data.published.prepare import read_splits


def get_config(folder: str = "data_cache/cub") -> Config:
  """Returns the experiment.

  Args:
    folder: made by `fskd data prepare`; its splits.json names the species.

  Raises:
    FileNotFoundError: the folder has not been prepared.
  """
  splits = read_splits(folder)
  cfg = lightweight.get_config()
  cfg.name = "cub"
  data, published = cfg.data, facts.CUB
  data.name = "coco_keypoints"
  data.path = folder
  data.base = published.base
  data.novel = published.novel
  data.flip_pairs = published.flip_pairs
  data.auxiliary_paths = published.auxiliary_paths
  data.unseen_species = splits["unseen"]
  data.validation_species = splits["validation"]
  data.heldout_fraction = 0.0
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
