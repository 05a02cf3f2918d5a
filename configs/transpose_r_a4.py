"""TransPose-R-A4 on COCO persons; everything about it is in configs/transpose.py.

python train.py --config=configs/transpose_r_a4.py --workdir=runs/tp_r_a4 \
    --config.data.path=coco/train2017 --config.model.pretrained=resnet50.pth
"""

from configs import transpose
from fskd_jax.config import Config


def get_config() -> Config:
  """Returns the experiment."""
  return transpose.get_config("tp_r_a4")
