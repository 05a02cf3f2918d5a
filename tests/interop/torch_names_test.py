"""State dicts of the original: names, layouts, round trips, and its heat-maps."""

import ast
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax import geometry
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.interop import torch
from fskd_jax.models.detector import FewShotDetector

SMALL = {
  "encoder": "small", "small_widths": (4, 4, 4, 4), "strides": (8,), "freeze_until": ""
}  # fmt: skip


def _seeded(shapes):
  """Makes the weights that the golden numbers were computed with."""
  weights = {}
  for i, (name, shape) in enumerate(sorted(shapes.items())):
    r = np.random.default_rng([2026, i]).standard_normal(shape).astype(np.float32)
    if name.endswith("num_batches_tracked"):
      weights[name] = np.zeros((), np.int64)
    elif name.endswith("running_var"):
      weights[name] = 1 + np.float32(0.1) * np.abs(r)
    elif name.endswith("weight") and len(shape) == 1:
      weights[name] = np.float32(0.5) + np.float32(0.05) * r
    elif name.endswith("weight"):
      weights[name] = r * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    else:
      weights[name] = r * np.float32(0.05)
  return weights


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


def test_heatmaps_are_the_original_codes(golden):
  shapes = {
    name: ast.literal_eval(shape)
    for name, shape in zip(golden["model_keys"], golden["model_shapes"])
  }
  config = ModelConfig(
    pool_sigma=14 / 128, truncate_pooling_center=True, heatmap_scale=(4.0,)
  )
  weights = _seeded(shapes)
  variables = torch.load_state_dict(weights, config)

  def views(part):
    images = golden[f"model_{part}_ebchw"].astype(np.float32)
    keypoints = golden[f"model_{part}_keypoints"]
    return Views(
      images=images.transpose(0, 1, 3, 4, 2),
      keypoints=geometry.normalized_to_pixels(keypoints, 128),
      visible=golden[f"model_{part}_mask"].astype(bool),
      to_original=None,
      box=None,
      image_size=None,
      instance=None,
    )

  batch = EpisodeBatch(views("support"), views("query"), None, None, None)
  detect = functools.partial(
    FewShotDetector(config, 128).apply, train=False, method="detect_normalized"
  )
  with jax.default_matmul_precision("highest"):
    heatmaps = jax.jit(detect)(variables, batch).heatmaps
  seen = batch.support.visible.any(1)
  assert seen.sum() == 9
  for size, found in zip((1, 3, 5), heatmaps):
    expected = golden[f"model_eval_heatmap_s{size}_ebnhw"]
    found, expected = (jnp.swapaxes(x, 1, 2)[seen] for x in (found, expected))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())

  exported = torch.state_dict(variables, config)
  assert exported.keys() == weights.keys()
  for name, value in weights.items():
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
  weights = _seeded(_table_shapes(config))
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
  weights = _seeded(_table_shapes(config))
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
  variables = torch.load_state_dict(_seeded(_table_shapes(config)), config)
  with pytest.raises(ValueError, match="kernel_generator_8/srm_3/kernel"):
    torch.state_dict(variables, ModelConfig(**SMALL, kernel_generator="no_srm"))


def test_torchvision_weights_fit_the_encoder():
  stages = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 2}
  numbers = {"4": 0, "5": 0, "9": 0, "15": 0}
  first = dict(zip(stages, numbers))
  original = _seeded(_table_shapes(ModelConfig(kernel_generator="prototype")))
  weights = {}
  for name, value in original.items():
    if not name.startswith("encoder"):
      continue
    number, _, rest = name.removeprefix("encoder.encoder_list.").partition(".")
    if number in "01":
      prefix = ("conv1", "bn1")[int(number)]
    elif number == "4":
      block, _, rest = rest.partition(".")
      prefix = f"layer1.{block}"
    else:
      stage = [s for s in stages if int(first[s]) <= int(number)][-1]
      prefix = f"{stage}.{int(number) - int(first[stage])}"
    weights[f"{prefix}.{rest}"] = value
  extra = {"layer4.2.conv1.weight": np.zeros(1), "fc.bias": np.zeros(1)}
  variables, dropped = torch.load_torchvision_resnet50(weights | extra)
  assert dropped == list(extra)
  expected = torch.load_state_dict(original, ModelConfig(kernel_generator="prototype"))
  for collection in ("params", "batch_stats"):
    jax.tree.map(
      np.testing.assert_array_equal,
      variables[collection],
      expected[collection]["encoder"],
    )

  _, dropped = torch.load_torchvision_resnet50(weights, (8,))
  assert {name.split(".")[0] for name in dropped} == {"layer3", "layer4"}
  with pytest.raises(ValueError, match="unexpected: head.bias"):
    torch.load_torchvision_resnet50(weights | {"head.bias": np.zeros(1)})
