"""NABirds, 111 species unseen, novel types = eyes and wings; 1 shot.

  fskd data prepare nabirds_keypoints --source downloads/nabirds \
      --out data_cache/nabirds
  python train.py --config=configs/nabirds.py --workdir=runs/nabirds \
      --config.model.pretrained=resnet50.safetensors
  python evaluate.py --workdir=runs/nabirds --config.eval.settings="('unseen/base',)"
  python evaluate.py --workdir=runs/nabirds --config.eval.settings="('unseen/novel',)" \
      --config.data.min_support_types=2 --config.data.min_query_types=2

Five shots: --config.train.shots=5 --config.eval.shots=5 with train.py.
Another folder than data_cache/nabirds after the colon: configs/nabirds.py:FOLDER. The
settings of the paper are those of configs/lightweight.py. Episodes of novel types, of
which there are four, need two visible ones instead of three: hence two evaluations,
whose files replace each other. Never run: the images were not available.
"""

from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.published import facts
from fskd_jax.data.published.prepare import read_splits


def get_config(folder: str = "data_cache/nabirds") -> Config:
  """Returns the experiment.

  Args:
    folder: made by `fskd data prepare`; its splits.json names the species.

  Raises:
    FileNotFoundError: the folder has not been prepared.
  """
  splits = read_splits(folder)
  cfg = lightweight.get_config()
  cfg.name = "nabirds"
  data, published = cfg.data, facts.NABIRDS
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
