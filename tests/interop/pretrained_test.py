"""Training that starts from files of other tasks."""

import jax
import numpy as np
import pytest

from benchmarks.parity.cases import seeded_weights
from fskd_jax.config import ModelConfig
from fskd_jax.interop import torch, weights
from fskd_jax.interop.pretrained import load_pretrained, pretrained_variables

CONFIG = ModelConfig(kernel_generator="prototype")


@pytest.fixture(scope="module")
def encoder():
  """Seeded variables of the encoder, and the same weights by torchvision's names."""
  table = torch.detector_table(CONFIG)
  original = seeded_weights({entry.name: entry.torch_shape for entry in table})
  first_block = {"layer4": 15, "layer3": 9, "layer2": 5}
  named = {}
  for name, value in original.items():
    if not name.startswith("encoder"):
      continue
    number, _, rest = name.removeprefix("encoder.encoder_list.").partition(".")
    prefix = {"0": "conv1", "1": "bn1", "4": "layer1"}.get(number)
    if prefix is None:
      stage = next(s for s, block in first_block.items() if int(number) >= block)
      prefix = f"{stage}.{int(number) - first_block[stage]}"
    named[f"{prefix}.{rest}"] = value
  variables = torch.load_state_dict(original, CONFIG)
  return {name: {"encoder": tree["encoder"]} for name, tree in variables.items()}, named


EXTRA = {
  "layer4.2.conv1.weight": np.zeros(1, np.float32),
  "fc.bias": np.zeros(1, np.float32),
}


@pytest.mark.slow
def test_torchvision_weights_fit_the_encoder(encoder):
  expected, named = encoder
  assert "layer1.0.conv1.weight" in named and "layer4.1.bn3.running_var" in named
  loaded, unused = load_pretrained(named | EXTRA, expected, CONFIG)
  assert unused == list(EXTRA)
  jax.tree.map(np.testing.assert_array_equal, loaded, expected)
  with pytest.raises(ValueError, match="unexpected: head.bias"):
    load_pretrained(named | {"head.bias": np.zeros(1)}, expected, CONFIG)
  cut = {
    collection: {
      "encoder": {k: m for k, m in tree["encoder"].items() if k[:6] < "layer3"}
    }
    for collection, tree in expected.items()
  }
  _, unused = load_pretrained(named, cut, CONFIG)
  assert {name.split(".")[0] for name in unused} == {"layer3", "layer4"}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_training_starts_from_a_file_of_torchvision(encoder, suffix, tmp_path, caplog):
  if suffix == ".pth":
    pytest.importorskip("torch", reason=".pth files need PyTorch")
  expected, named = encoder
  path = tmp_path / f"resnet50{suffix}"
  weights.write_weights(path, named | EXTRA, {})
  variables = jax.tree.map(np.zeros_like, expected)
  head = np.ones(3)
  variables["params"]["kernel_generator_32"] = {"kernel": head}
  with caplog.at_level("INFO", logger="fskd_jax"):
    started = pretrained_variables(variables, path, CONFIG)
  assert started["params"]["kernel_generator_32"]["kernel"] is head
  for name, tree in expected.items():
    jax.tree.map(
      np.testing.assert_array_equal, started[name]["encoder"], tree["encoder"]
    )
  assert "not used: fc.bias, layer4.2" in caplog.text

  with pytest.raises(FileNotFoundError, match="nowhere"):
    pretrained_variables(variables, tmp_path / "nowhere.safetensors", CONFIG)
  with pytest.raises(ValueError, match="no weights fit model.encoder='small'"):
    pretrained_variables(variables, path, ModelConfig(encoder="small"))
