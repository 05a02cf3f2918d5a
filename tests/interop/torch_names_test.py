"""State dicts of the original: names, layouts and round trips."""

import ast

import flax.linen as nn
import jax
import numpy as np
import pytest

from benchmarks.parity.cases import seeded_weights
from fskd_jax.config import ModelConfig
from fskd_jax.interop import torch
from fskd_jax.models.kernels import SpatialRefinement
from fskd_jax.models.upsample import MapConvolution

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


@pytest.mark.slow
def test_weights_of_the_whole_model_survive_bit_for_bit():
  config = ModelConfig()
  original = seeded_weights(_table_shapes(config))
  exported = torch.state_dict(torch.load_state_dict(original, config), config)
  for name, value in original.items():
    assert exported[name].dtype == value.dtype
    np.testing.assert_array_equal(exported[name], value, err_msg=name)


@pytest.mark.slow
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
  # Counts of docs/algorithm.md#size; batch statistics and all.
  learned = sum(
    np.prod(shape, dtype=int) for name, shape in names.items() if "running" not in name
  )
  bias_nets = sum(256 * c + 256 + 256 * 128 + 128 + 129 for c in (512, 1024, 2048)) * 3
  assert learned == 52_226_112 + bias_nets + 9 * 26


@pytest.mark.slow
@pytest.mark.parametrize(
  "options",
  [
    {},
    {"shared_crm": False, "bias_net": True, "heatmap_upsampling": "conv2"},
    {"strides": (8, 16), "residual_crm": True},
    {"heatmap_upsampling": "none"},
    {"heatmap_upsampling": "bilinear"},
    {"kernel_generator": "no_crm"},
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


def _slow_convolution(image, weight):
  """PyTorch's Conv2d of [h w in] with [out in kh kw], without padding."""
  outputs, _, height, width = weight.shape
  rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
  result = np.zeros((rows, columns, outputs))
  for y, x, o, i, j in np.ndindex(rows, columns, outputs, height, width):
    result[y, x, o] += image[y + i, x + j] @ weight[o, :, i, j]
  return result


def test_tensors_do_what_they_do_in_pytorch():
  config, rng = ModelConfig(**SMALL), np.random.default_rng(0)
  weights = seeded_weights(_table_shapes(config))
  params = torch.load_state_dict(weights, config)["params"]
  generator, parts = params["kernel_generator_8"], "weight_generator_list.0.weight_net_"

  image = rng.standard_normal((6, 5, 3)).astype(np.float32)
  found = nn.Conv(4, (3, 3), padding="VALID", use_bias=False).apply(
    {"params": params["encoder"]["conv1"]}, image
  )
  expected = _slow_convolution(image, weights["encoder.conv1.weight"])
  np.testing.assert_allclose(found, expected, atol=1e-5)

  maps = rng.standard_normal((7, 6)).astype(np.float32)
  found = MapConvolution().apply({"params": params["upsampler_8_3"]["conv1"]}, maps)
  expected = _slow_convolution(
    np.pad(maps, 2)[..., None], weights["output_sr_list.1.1.weight"]
  )
  bias = weights["output_sr_list.1.1.bias"]
  np.testing.assert_allclose(found, expected[..., 0] + bias, atol=1e-5)

  # SRM is a depthwise ConvTranspose2d, [channels 1 kh kw], of a single cell.
  prototype = rng.standard_normal(4).astype(np.float32)
  taps = SpatialRefinement(3, rectify=True).apply(
    {"params": generator["srm_3"]}, prototype[None, None]
  )[0, 0]
  srm, bias = (weights[f"{parts}part1.1.0.{kind}"] for kind in ("weight", "bias"))
  for i, j, c in np.ndindex(taps.shape):
    expected = max(prototype[c] * srm[c, 0, i, j] + bias[c], 0)
    assert taps[i, j, c] == pytest.approx(expected, abs=1e-6)

  # CRM's layers are 1x1 convolutions.
  found = nn.Dense(4).apply({"params": generator["crm"]["hidden"]}, prototype)
  crm, bias = (weights[f"{parts}part2.0.0.{kind}"] for kind in ("weight", "bias"))
  expected = _slow_convolution(prototype[None, None], crm)[0, 0] + bias
  np.testing.assert_allclose(found, expected, atol=1e-6)


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
