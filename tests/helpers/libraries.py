"""Tests that need a library which not every installation has."""

import importlib.util

import pytest

_HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None

needs_tensorflow = pytest.mark.skipif(
  not _HAS_TENSORFLOW,
  reason="no TensorFlow here: the extra [tensorflow], not for Python 3.14 yet",
)

HOST_EXECUTOR = "tfdata" if _HAS_TENSORFLOW else "grain"
"""An executor whose batches have pixels; both give the same."""
