"""TFDS data set of any local COCO keypoint folder."""

from fskd_jax.data.builders.coco_keypoints.builder import CocoKeypoints as CocoKeypoints
from fskd_jax.data.builders.coco_keypoints.builder import load as load
