"""TFDS builder: CUB-200-2011, from files downloaded by hand."""

from fskd_jax.data.builders.published import PublishedBuilder
from fskd_jax.data.published import facts


class CubKeypoints(PublishedBuilder):
  """One record per annotated image."""

  PUBLISHED = facts.CUB
  MANUAL_DOWNLOAD_INSTRUCTIONS = PUBLISHED.layout
