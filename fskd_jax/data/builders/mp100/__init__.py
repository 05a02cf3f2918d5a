"""TFDS data set of MP-100."""

from fskd_jax.data.builders.mp100.builder import Mp100 as Mp100
