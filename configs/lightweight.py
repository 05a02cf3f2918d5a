"""The paper's light-weight detector: ResNet-50, 384 px, S = {1, 3, 5}, MFCL.

  python train.py --config=configs/lightweight.py --workdir=runs/lightweight \
      --config.model.pretrained=resnet50.safetensors
  python evaluate.py --workdir=runs/lightweight

AAAI 2024; settings of the authors' closest public code: 20 000 steps of 2 episodes x
(1 + 5) images, Adam 1e-4, heat-map MSE, MFCL weight 0.002 with 10 negatives per image,
frozen through layer3, 1000 test episodes. Never trained to the end here. It runs on the
built-in creatures as it stands (2 CPU cores: memory and time per step in
docs/results.md); give data.name and data.path for photographs.
"""

from fskd_jax.config import Config, DataConfig
from fskd_jax.data import keypoints


def get_config() -> Config:
  """Returns the experiment."""
  return Config(
    name="lightweight",
    data=DataConfig(
      name="synthetic_creatures",
      base=keypoints.ANIMAL_BASE,
      novel=keypoints.ANIMAL_NOVEL,
      auxiliary_paths=keypoints.ANIMAL_PATHS,
      unseen_species=("fox", "zebra", "pig"),
      validation_species=("rabbit",),
      heldout_fraction=1 / 6,
    ),
  )
