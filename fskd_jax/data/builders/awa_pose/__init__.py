"""TFDS data set of AwA-Pose."""

from fskd_jax.data.builders.awa_pose.builder import AwaPose as AwaPose
