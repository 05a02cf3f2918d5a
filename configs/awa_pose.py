"""AwA-Pose, ten species unseen, novel types = eyes and knees; 1 shot.

  fskd data prepare awa_pose --source downloads/awa_pose --out data_cache/awa_pose
  python train.py --config=configs/awa_pose.py --workdir=runs/awa_pose \
      --config.model.pretrained=resnet50.safetensors
  python evaluate.py --workdir=runs/awa_pose

Five shots: --config.train.shots=5 --config.eval.shots=5 with train.py.
The settings of the paper are those of configs/lightweight.py. A mirrored image also
exchanges body_middle_left and body_middle_right, which the original forgets. There is
no validation: the original chooses its checkpoint on the test species, which is not
done here. Never run: the images were not available.
"""

from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.published import facts


def get_config() -> Config:
  """Returns the experiment."""
  cfg = lightweight.get_config()
  cfg.name = "awa_pose"
  data, published = cfg.data, facts.AWA_POSE
  data.name = "coco_keypoints"
  data.path = "data_cache/awa_pose"
  data.base = published.base
  data.novel = published.novel
  data.flip_pairs = published.flip_pairs
  data.auxiliary_paths = published.auxiliary_paths
  data.unseen_species = published.unseen_species
  data.validation_species = ()
  data.heldout_fraction = 0.0
  cfg.eval.settings = ("unseen/novel", "unseen/base")
  return cfg
