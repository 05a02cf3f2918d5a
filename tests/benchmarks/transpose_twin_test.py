"""TransPose in PyTorch beside the original code."""

import ast
import dataclasses

import numpy as np
import pytest

from fskd_jax.models.transpose import VARIANTS

torch = pytest.importorskip("torch", reason="the twin is PyTorch")

FAMILIES = {"r": ("tp_r_a4", 2**-5), "h": ("tp_h_a4", 2**-16)}
"""Variant, and the factor on reduce.weight, of the golden numbers."""


@pytest.fixture(autouse=True)
def one_thread():
  """PyTorch's threads wait by spinning: on a busy machine they are far slower."""
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(threads)


def _twin(family, golden):
  """Loads the weights of rule B (docs/transpose.md#weights-by-rule)."""
  from benchmarks.opponents.transpose_twin import TransPose

  variant, factor = FAMILIES[family]
  network = TransPose(dataclasses.asdict(VARIANTS[variant]), (256, 192), 17)
  weights = network.state_dict()
  shapes = {name: list(x.shape) for name, x in weights.items()}
  assert shapes == ast.literal_eval(str(golden["key_shapes"]))
  for i, (name, shape) in enumerate(sorted(shapes.items())):
    if name == "pos_embedding" or name.endswith("num_batches_tracked"):
      continue
    noise = np.random.default_rng([2026, i]).standard_normal(shape)
    if name.endswith("running_var"):
      noise = 1 + 0.1 * np.abs(noise)
    elif name.endswith("weight") and len(shape) == 1:
      noise = 1 + 0.1 * noise
    elif name.endswith("weight"):
      noise *= (2 / np.prod(shape[1:])) ** 0.5
    else:
      noise *= 0.05
    weights[name] = torch.tensor(noise, dtype=torch.float32)
  weights["reduce.weight"] *= factor
  network.load_state_dict(weights)
  image = np.random.default_rng(7).standard_normal((1, 3, 256, 192))
  return network.eval(), torch.tensor(image, dtype=torch.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_twin_is_the_original(family, golden_transpose):
  golden = golden_transpose[family]
  network, image = _twin(family, golden)
  with torch.no_grad():
    if family == "h":  # by the fused attention
      heatmaps = network(image)
    else:
      heatmaps, attention = network.attention_maps(image)
      rows = golden["B_attn_rows_idx"]
      found = attention.mean(2)[:, 0, rows]
      np.testing.assert_allclose(found, golden["B_attn_all"], atol=1e-6)
      found = attention[-1, 0][:, golden["B_attn_last_heads_rows_idx"]]
      np.testing.assert_allclose(found, golden["B_attn_last_heads"], atol=1e-6)
  np.testing.assert_allclose(heatmaps, golden["B_heatmap"], atol=5e-5)
