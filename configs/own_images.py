"""Your own images: a folder is all it takes (docs/own-data.md).

  python train.py --config=configs/own_images.py:FOLDER --workdir=runs/own
  python evaluate.py --workdir=runs/own

FOLDER is a folder, file or project of labels of any tool that docs/data.md lists (as
annotations.json in COCO keypoints beside images/), of one species. Every keypoint name
is trained on; a fifth of the images is kept to check and to calibrate. Crops zoom out
to four times the object, with what is around it: so a detector learns what it sees when
it has to search. Two to five minutes on two CPU cores; 30 frames of a mouse:
docs/own-data.md.
"""

from configs import quickstart
from fskd_jax.config import Config
from fskd_jax.data.any_labels import read_dataset

CHECKED = 0.2
"""Of the images: not trained on."""


def get_config(folder: str = "my_images") -> Config:
  """Returns the experiment on a folder.

  Raises:
    FileNotFoundError: there is no such folder, annotation file or image.
    ValueError: the annotations have a fault.
  """
  dataset = read_dataset(folder)
  cfg = quickstart.get_config()
  cfg.name = "own_images"
  data = cfg.data
  data.name = "coco_keypoints"
  data.path = folder
  data.base = dataset.keypoint_names
  data.novel = data.auxiliary_paths = ()
  data.unseen_species = data.validation_species = ()
  data.heldout_fraction = 0.0
  data.validation_fraction = CHECKED
  data.min_support_types = data.min_query_types = min(3, len(data.base))
  data.scale_range = (0.25, 1.25)
  data.shift = 0.25
  cfg.train.steps = 2_000
  checked = round(CHECKED * len(dataset.image_names))
  cfg.eval.shots = max(1, min(5, checked - 1))
  cfg.eval.queries = max(1, min(5, checked - cfg.eval.shots))
  cfg.eval.settings = ("validation/base",)
  return cfg
