"""The same as the official TransPose: shows the largest errors with `pytest -s`."""

import jax
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", "rh")
def test_jax_is_the_original(golden_transpose, family):
  from benchmarks.parity.transpose import golden_rows

  failed = []
  with jax.default_matmul_precision("highest"):
    for row in golden_rows(golden_transpose[family]):
      print(f"{row.group:52s} {row.error:8.1e}   limit {row.limit:.0e}")
      failed += [] if row.error <= row.limit else [row]
  assert not failed
