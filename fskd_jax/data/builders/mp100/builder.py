"""TFDS builder: the five splits of MP-100, from files downloaded by hand."""

from typing import Any, ClassVar

import tensorflow_datasets as tfds

from fskd_jax.data.builders.published import PublishedBuilder
from fskd_jax.data.published import facts
from fskd_jax.data.published.schema import Published


class Mp100(PublishedBuilder):
  """One record per annotated image; config="mp100_split1" .. "mp100_split5".

  Every object has 100 keypoint slots, of which its category uses the first ones.
  """

  OF_SPLIT: ClassVar[dict[str, Published]] = facts.MP100
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name, description=published.title)
    for name, published in OF_SPLIT.items()
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = "\n\n".join(p.layout for p in OF_SPLIT.values())

  def _published(self) -> Published:
    config: Any = self.builder_config
    return self.OF_SPLIT[config.name]
