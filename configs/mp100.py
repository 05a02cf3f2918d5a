"""MP-100, one of its five splits: 20 categories unseen; 1 shot.

  fskd data prepare mp100_split1 --source downloads/mp100 --out data_cache/mp100_split1
  python train.py --config=configs/mp100.py:1 --workdir=runs/mp100_split1 \
      --config.model.pretrained=resnet50.safetensors
  fskd mp100 --workdir runs/mp100_split1 --images downloads/mp100 \
      --annotations downloads/mp100/annotations/mp100_split1_test.json \
      --out runs/mp100_split1/mp100

The split (1 to 5) comes after the colon. As in the reference implementation: pairs of
images of a category in batches of 16, categories equally often, no pair refused, crops
of 256 px about 1.25 times the box, scale 1 +- 0.15 and rotation +- 15 degrees (drawn
uniformly here), no mirror, targets of 2 / 64 of the side. Its methods train 100 to 210
epochs of (70 times the objects of the largest category) pairs with rates of 1e-5 to
5e-4, each with its own: network, rate and steps are those of configs/lightweight.py
here.

Keypoints go by their number in their category: all numbers are "base" types, and what
is unseen are the categories. Without MFCL, for which equal numbers would be the same
type. The protocol's numbers come from `fskd mp100`. Never run: the images were not
available.
"""

from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.published import facts
from fskd_jax.data.published.prepare import read_splits


def get_config(split: str = "1") -> Config:
  """Returns the experiment.

  Raises:
    ValueError: there is no such split.
    FileNotFoundError: its folder, data_cache/mp100_split1 .., has not been prepared.
  """
  name = f"mp100_split{split}"
  if name not in facts.MP100:
    raise ValueError(f"split {split!r} of MP-100: choose one of 1, 2, 3, 4, 5")
  folder = f"data_cache/{name}"
  splits = read_splits(folder)
  cfg = lightweight.get_config()
  cfg.name = name
  data = cfg.data
  data.name = "coco_keypoints"
  data.path = folder
  data.image_size = 256
  data.base = facts.MP100[name].base
  data.novel = data.auxiliary_paths = ()
  data.unseen_species = splits["unseen"]
  data.validation_species = splits["validation"]
  data.heldout_fraction = 0.0
  data.class_weighting = "uniform"
  data.min_support_types = data.min_query_types = 0
  data.flip_probability = 0.0
  data.rotation_probability = 1.0
  data.rotation_degrees = 15.0
  data.scale_range = (0.85, 1.15)
  data.crop = "box"
  data.crop_margin = 1.25
  cfg.loss.target_sigma = 2 / 64
  cfg.loss.mfcl_weight = 0.0
  cfg.train.episodes_per_step = 16
  cfg.train.queries = 1
  cfg.eval.queries = 15
  cfg.eval.settings = ("unseen/base",)
  return cfg
