"""TFDS builder: Animal Pose, from files downloaded by hand."""

from fskd_jax.data.builders.published import PublishedBuilder
from fskd_jax.data.published import facts


class AnimalPose(PublishedBuilder):
  """One record per annotated image."""

  PUBLISHED = facts.ANIMAL_POSE
  MANUAL_DOWNLOAD_INSTRUCTIONS = PUBLISHED.layout
