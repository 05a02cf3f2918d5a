"""TFDS data set of the synthetic creatures."""

from fskd_jax.data.builders.synthetic_creatures.builder import (
  SyntheticCreatures as SyntheticCreatures,
)
from fskd_jax.data.builders.synthetic_creatures.builder import load as load
