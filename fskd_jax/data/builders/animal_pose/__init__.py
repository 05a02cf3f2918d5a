"""TFDS data set of Animal Pose."""

from fskd_jax.data.builders.animal_pose.builder import AnimalPose as AnimalPose
