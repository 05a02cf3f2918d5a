"""Animal Pose, one species unseen, novel types = eyes and knees; 1 shot.

  fskd data prepare animal_pose --source downloads/animal_pose \
      --out data_cache/animal_pose
  python train.py --config=configs/animal_pose.py --workdir=runs/animal_pose \
      --config.model.pretrained=resnet50.safetensors
  python evaluate.py --workdir=runs/animal_pose

Five shots: --config.train.shots=5 --config.eval.shots=5 with train.py.
Another unseen species after the colon: configs/animal_pose.py:cat (cow, horse, sheep,
dog; default dog). The settings of the paper are those of configs/lightweight.py. There
is no validation: the original chooses its checkpoint on the test species, which is not
done here. Never run: the images were not available.
"""

from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.published import facts
from fskd_jax.messages import require_one_of


def get_config(unseen: str = "dog") -> Config:
  """Returns the experiment.

  Raises:
    ValueError: there is no such species.
  """
  require_one_of("unseen species", unseen, facts.ANIMAL_POSE.species)
  cfg = lightweight.get_config()
  cfg.name = "animal_pose"
  data, published = cfg.data, facts.ANIMAL_POSE
  data.name = "coco_keypoints"
  data.path = "data_cache/animal_pose"
  data.base = published.base
  data.novel = published.novel
  data.flip_pairs = published.flip_pairs
  data.auxiliary_paths = published.auxiliary_paths
  data.unseen_species = (unseen,)
  data.validation_species = ()
  data.heldout_fraction = 0.0
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
