"""TFDS data set of CUB-200-2011."""

from fskd_jax.data.builders.cub_keypoints.builder import CubKeypoints as CubKeypoints
