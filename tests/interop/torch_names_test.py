"""State dicts of the original: names, layouts and round trips."""

import ast

import jax
import numpy as np
import pytest

from benchmarks.parity.cases import seeded_weights
from fskd_jax.config import ModelConfig
from fskd_jax.interop import torch

SMALL = {
  "encoder": "small", "small_widths": (4, 4, 4, 4), "strides": (8,), "freeze_until": ""
}  # fmt: skip


def _table_shapes(config):
  return {entry.name: entry.torch_shape for entry in torch.detector_table(config)}


def test_names_and_shapes_are_the_original_codes(golden):
  shapes = dict(zip(golden["model_keys"].tolist(), golden["model_shapes"].tolist()))
  expected = {
    name: tuple(ast.literal_eval(shape))
    for name, shape in shapes.items()
    if not name.endswith("num_batches_tracked")
  }
  assert _table_shapes(ModelConfig()) == expected


def test_weights_of_the_whole_model_survive_bit_for_bit():
  config = ModelConfig()
  original = seeded_weights(_table_shapes(config))
  exported = torch.state_dict(torch.load_state_dict(original, config), config)
  for name, value in original.items():
    assert exported[name].dtype == value.dtype
    np.testing.assert_array_equal(exported[name], value, err_msg=name)


def test_multi_scale_names():
  names = _table_shapes(
    ModelConfig(strides=(8, 16, 32), shared_crm=False, bias_net=True)
  )
  generator = "weight_generator_list"
  assert names[f"{generator}.1.weight_net_part1.2.0.weight"] == (1024, 1, 5, 5)
  assert names[f"{generator}.0.weight_net_part2.2.2.weight"] == (512, 512, 1, 1)
  assert names[f"{generator}.2.bias_net.1.4.weight"] == (1, 128)
  assert names["output_sr_list.8.1.weight"] == (1, 1, 5, 5)
  assert "output_sr_list.9.1.weight" not in names
  # Counts of spec section 4.10, 4.4 and 4.7; batch statistics and all.
  learned = sum(
    np.prod(shape, dtype=int) for name, shape in names.items() if "running" not in name
  )
  bias_nets = sum(256 * c + 256 + 256 * 128 + 128 + 129 for c in (512, 1024, 2048)) * 3
  assert learned == 52_226_112 + bias_nets + 9 * 26


@pytest.mark.parametrize(
  "options",
  [
    {},
    {"shared_crm": False, "bias_net": True, "heatmap_upsampling": "conv2"},
    {"strides": (8, 16), "residual_crm": True},
    {"heatmap_upsampling": "none"},
    {"heatmap_upsampling": "bilinear"},
    {"kernel_generator": "diagonal"},
    {"kernel_generator": "linear", "kernel_sizes": (3,)},
  ],
)
def test_round_trip_is_the_identity(options):
  config = ModelConfig(**SMALL | options)
  weights = seeded_weights(_table_shapes(config))
  variables = torch.load_state_dict(weights, config)
  exported = torch.state_dict(variables, config)
  counters = {name for name in exported if name.endswith("num_batches_tracked")}
  assert exported.keys() - counters == weights.keys()
  assert all(exported[n] == 0 and exported[n].dtype == np.int64 for n in counters)
  for name, value in weights.items():
    np.testing.assert_array_equal(exported[name], value, err_msg=name)
  again = torch.load_state_dict(exported, config)
  jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_every_problem_is_listed_at_once():
  config = ModelConfig(**SMALL)
  weights = seeded_weights(_table_shapes(config))
  missing = weights.pop("encoder.bn1.weight")
  weights["encoder.bn1.gamma"] = missing
  weights["encoder.conv1.weight"] = weights["encoder.conv1.weight"].T
  weights["encoder.bn1.bias"] = weights["encoder.bn1.bias"] * np.nan
  with pytest.raises(ValueError) as error:
    torch.load_state_dict(weights, config)
  for line in (
    "missing: encoder.bn1.weight (4,)",
    "wrong shape: encoder.conv1.weight (3, 3, 3, 4), expected (4, 3, 3, 3)",
    "not finite: encoder.bn1.bias",
    "unexpected: encoder.bn1.gamma (4,)",
  ):
    assert line in str(error.value)


def test_variables_of_another_configuration_are_refused():
  config = ModelConfig(**SMALL)
  variables = torch.load_state_dict(seeded_weights(_table_shapes(config)), config)
  with pytest.raises(ValueError, match="kernel_generator_8/srm_3/kernel"):
    torch.state_dict(variables, ModelConfig(**SMALL, kernel_generator="no_srm"))
