"""The same as PyTorch: shows the table of largest errors with `pytest -s`."""

import jax
import pytest

pytestmark = pytest.mark.slow

NEEDS_TORCH = "the twin is PyTorch"


@pytest.fixture(autouse=True)
def precise():
  with jax.default_matmul_precision("highest"):
    yield


def _check(rows):
  failed = []
  for row in rows:
    print(f"{row.group:48s} {row.error:8.1e}   limit {row.limit:.0e}")
    failed += [] if row.error <= row.limit else [row]
  assert not failed


def test_jax_is_the_original(golden):
  from benchmarks.parity.golden import golden_rows

  _check(golden_rows(golden))


def test_jax_is_the_twin():
  pytest.importorskip("torch", reason=NEEDS_TORCH)
  from benchmarks.parity import twin

  _check(twin.rows())


def test_the_twin_is_the_original(golden):
  pytest.importorskip("torch", reason=NEEDS_TORCH)
  from benchmarks.parity import twin

  _check(twin.golden_rows(golden))
