"""Formats that are written, for tests that try each of them."""

import importlib.util

import pytest

from fskd_jax.data.labels import formats

without_sleap_io = pytest.mark.skipif(
  importlib.util.find_spec("sleap_io") is None,
  reason="SLEAP's project files need the extra [sleap]: sleap-io is not installed",
)
WRITTEN = [
  pytest.param(name, marks=without_sleap_io if name == "slp" else ())
  for name in formats.FORMATS
]
