"""TFDS builder: NABirds, from files downloaded by hand."""

from fskd_jax.data.builders.published import PublishedBuilder
from fskd_jax.data.published import facts


class NabirdsKeypoints(PublishedBuilder):
  """One record per annotated image."""

  PUBLISHED = facts.NABIRDS
  MANUAL_DOWNLOAD_INSTRUCTIONS = PUBLISHED.layout
