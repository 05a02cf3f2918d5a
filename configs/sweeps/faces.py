"""SMD against MDS from scratch on faces.

  fskd experiment sweep configs/sweeps/faces.py --out runs/ablation_faces \
      --set data.path=../shared/data/faces

The baseline is configs/faces.py with fewer steps. docs/experiments.md has the results.
"""

from configs import faces
from configs.sweeps import creatures
from fskd_jax.analysis.sweep.plan import Sweep


def get_sweep() -> Sweep:
  """Returns the sweep."""
  cfg = faces.get_config()
  cfg.train.steps = 1_000
  cfg.eval.episodes = 200
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  variants = {name: creatures.VARIANTS[name] for name in ("baseline", "MDS")}
  return Sweep(base=cfg, variants=variants)
