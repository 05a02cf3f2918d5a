"""Any keypoints, for research alone: the sources of any_keypoints.py and more.

  fskd data game --out data_cache/game
  python train.py --config=configs/any_keypoints_research.py --workdir=runs/research \
      --config.data.path=../shared/data
  python evaluate.py --workdir=runs/research

The photographs added here forbid commercial use, or have no licence: measure with what
is trained on them, do not pass it on. The models of a game (CC BY-SA) are for encoders
that learn: a head on frozen maps gained nothing from them (docs/pretrained.md).
"""

from configs import any_keypoints
from configs.any_keypoints import source
from fskd_jax.config import Config, SourceConfig
from fskd_jax.data import keypoints


def sources() -> tuple[SourceConfig, ...]:
  """Returns the sources that the package's detector did not learn from."""
  return (
    source("game_models", weight=3.0, path=any_keypoints.made("game/models")),
    source("game_kinds", weight=2.0, path=any_keypoints.made("game/kinds")),
    source("humans", weight=3.0),
    source(
      "faces",
      weight=2.0,
      flip_pairs=keypoints.FACE_FLIPS,
      unseen_fraction=0.1,  # people
      validation_fraction=0.05,
      heldout_fraction=0.0,
      class_mode="mix_class",  # support and query of any people: six images each
    ),
    source("fly_wings"),
    source("doors", flip_probability=0.0),  # which corner is which, a mirror changes
    source("key_tool", flip_probability=0.0),
    source("depth_people", group_pattern=any_keypoints.CLIP),
    source("depth_part", flip_probability=0.0),
  )


def get_config() -> Config:
  """Returns the experiment."""
  cfg = any_keypoints.get_config()
  cfg.name = "any_keypoints_research"
  cfg.data.mixture = (*cfg.data.mixture, *sources())
  return cfg
