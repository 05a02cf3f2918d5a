"""TFDS data set of NABirds."""

from fskd_jax.data.builders.nabirds_keypoints.builder import (
  NabirdsKeypoints as NabirdsKeypoints,
)
