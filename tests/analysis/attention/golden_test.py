"""Gradients and maps beside numbers of the original TransPose-R (rule B).

`python -m benchmarks.parity` compares TransPose-H as well.
"""

import numpy as np
import pytest

from benchmarks.parity import gradients as parity
from fskd_jax.analysis.attention import gradients, maps

SIZE, GRID = (256, 192), (32, 24)


@pytest.fixture(scope="module")
def golden(golden_transpose):
  return golden_transpose["r"]


@pytest.fixture(scope="module")
def found(golden):
  return parity.first_keypoint(golden)


@pytest.mark.slow
def test_gradient_norms(found, golden):
  column, row, token = golden["B_grad_u_v_token"]
  assert found.cells[0].tolist() == [row, column] and found.tokens[0] == token
  assert np.flatnonzero(found.direct[0]).tolist() == [22, 23, 46, 47]
  for name, gradient in (
    ("B_gradnorm_true", found.exact),
    ("B_gradnorm_fixedA", found.closed_form),
  ):
    norms = np.linalg.norm(gradient[0], axis=-1)
    np.testing.assert_allclose(norms, golden[name], rtol=1e-3)


@pytest.mark.slow
def test_maps(found, golden):
  token = maps.token_at(golden["B_query_xy"], SIZE, GRID)
  assert token == golden["B_query_token_x_y_idx"][2]
  averaged = found.attention.mean(0)
  for name, cut in (
    ("B_dependency_map_kpt0", maps.dependency_map),
    ("B_affected_map_kpt0", maps.affected_map),
  ):
    pixels = maps.upsample(cut(averaged, token, GRID), SIZE)
    np.testing.assert_allclose(pixels, golden[name], atol=1e-6)


def test_correlations(found):
  agreement = gradients.compare(found, 0)
  assert agreement["attention"].pearson == pytest.approx(0.956, abs=5e-4)
  assert agreement["closed form"].pearson > 0.999
