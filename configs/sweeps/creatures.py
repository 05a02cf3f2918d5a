"""Ablations from scratch on synthetic creatures: the papers' choices one by one.

  fskd experiment sweep configs/sweeps/creatures.py --out runs/ablation

The baseline is configs/quickstart.py with an eighth of its steps: 75 s a run on one
idle core. docs/experiments.md has the results.
"""

from typing import Any

from configs import quickstart
from fskd_jax.analysis.sweep.plan import Sweep
from fskd_jax.data import keypoints

_MFCL = {"loss.mfcl_weight": 0.02, "train.episodes_per_step": 2}
_PLAIN = {
  "model.similarity": "plain",
  "model.plain_scale": 1.0,
  "model.temperature": 1.0,
}
_MDS = {"model.head": "mds", "model.mds_widths": (64, 64, 128)}
_OTHER_SPECIES = ("sheep", "mouse", "bear", "giraffe", "dachshund", "deer")

VARIANTS: dict[str, dict[str, Any]] = {
  "baseline": {},
  # Detection head and kernels.
  "MDS": _MDS,
  "MDS, rate 1e-3": _MDS | {"optim.learning_rate": 1e-3},
  "SMD, plain similarity": _PLAIN,
  "S = {3}": {"model.kernel_sizes": (3,)},
  "S = {5}": {"model.kernel_sizes": (5,)},
  "S = {1, 3}": {"model.kernel_sizes": (1, 3)},
  "S = {1, 3, 5}": {"model.kernel_sizes": (1, 3, 5)},
  "S = {1, 3}, no SRM": {
    "model.kernel_sizes": (1, 3),
    "model.kernel_generator": "no_srm",
  },
  "no CRM": {"model.kernel_generator": "no_crm"},
  "linear generator": {"model.kernel_generator": "linear"},
  "prototype only": {"model.kernel_generator": "prototype"},
  "CRM without residual": {"model.residual_crm": False},
  "two scales": {"model.strides": (8, 16), "model.heatmap_scale": (2.0, 4.0)},
  # Contrastive learning.
  "MFCL 0.002": _MFCL | {"loss.mfcl_weight": 0.002},
  "MFCL 0.02": _MFCL,
  "MFCL 0.1": _MFCL | {"loss.mfcl_weight": 0.1},
  "MFCL 0.02, no negatives": _MFCL | {"loss.negatives_per_image": 0},
  "MFCL 0.02, instance level": _MFCL | {"loss.mfcl_level": "instance"},
  "MFCL 0.02, alpha 0.8": _MFCL | {"loss.negative_box_scale": 0.8},
  "MFCL 0.02, alpha 2": _MFCL | {"loss.negative_box_scale": 2.0},
  "MFCL 0.02, rho 10": _MFCL | {"loss.negative_distance": 10 / 384},
  "MFCL 0.02, rho 60": _MFCL | {"loss.negative_distance": 60 / 384},
  "MFCL 0.02, 30 negatives": _MFCL | {"loss.negatives_per_image": 30},
  "MFCL 0.02, four episodes a step": _MFCL | {"train.episodes_per_step": 4},
  "four episodes a step": {"train.episodes_per_step": 4},
  # Training data and loss.
  "no auxiliary types": {"data.auxiliary_paths": ()},
  "auxiliary types near novel ones only": {
    "data.auxiliary_paths": keypoints.ANIMAL_PATHS
  },
  "auxiliary types away from novel ones": {
    "data.auxiliary_paths": keypoints.ANIMAL_BODY_PATHS
  },
  "three training species": {
    "data.validation_species": ("rabbit", *_OTHER_SPECIES),
  },
  "heat-map MSE": {"loss.heatmap": "mse", "model.temperature": 1.0},
  "weighted heat-map MSE": {"loss.heatmap": "weighted_mse", "model.temperature": 1.0},
}
"""Changed fields of the configuration, by variant."""


def get_sweep() -> Sweep:
  """Returns the sweep."""
  cfg = quickstart.get_config()
  cfg.data.images_per_species = 150
  cfg.train.steps = 1_000
  cfg.eval.episodes = 200
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  return Sweep(base=cfg, variants=VARIANTS)
