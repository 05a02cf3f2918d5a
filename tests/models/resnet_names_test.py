"""ResNets with the weights and names of PyTorch's, both ways."""

import functools

import jax
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.config import ModelConfig
from fskd_jax.interop import entries
from fskd_jax.interop.encoder_names import NAMES
from fskd_jax.models.encoder import build_encoder

pytestmark = pytest.mark.slow

SIDE = 64
CONFIGS = {
  name: ModelConfig(
    encoder=name,
    strides=(4, 8, 16, 32),
    freeze_until="",
    resnet_blocks=(3, 4, 6, 3),
  )
  for name in ("resnet18", "resnet34", "resnet50")
}
# Networks without bottlenecks have blocks of their own, whatever the field says.
CONFIGS["resnet18"].resnet_blocks = (1, 1, 1, 1)


@pytest.mark.torch
@pytest.mark.parametrize("name", CONFIGS)
def test_every_size_has_the_tensors_of_pytorch(name):
  pytest.importorskip("torch", reason="compares with PyTorch")
  from benchmarks.opponents.resnet_twin import ResNet

  config = CONFIGS[name]
  init = functools.partial(
    build_encoder(config, SIDE).init, jax.random.key(0), train=False
  )
  shapes = jax.eval_shape(init, np.zeros((1, SIDE, SIDE, 3), np.float32))
  table = entries.make_table(shapes, NAMES[name].published(config))
  assert {entry.name: entry.torch_shape for entry in table} == {
    key: tuple(x.shape)
    for key, x in ResNet(name).state_dict().items()
    if not key.endswith(entries.COUNTER)
  }


@pytest.mark.torch
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_maps_are_those_of_pytorch_with_the_same_weights(name):
  torch = pytest.importorskip("torch", reason="compares with PyTorch")
  from benchmarks.opponents.resnet_twin import ResNet

  config = CONFIGS[name]
  encoder = build_encoder(config, SIDE)
  variables = seeded_variables(
    encoder.init, np.zeros((1, SIDE, SIDE, 3), np.float32), train=False
  )
  table = entries.make_table(variables, NAMES[name].published(config))
  tensors = entries.write(variables, table)
  twin = ResNet(name).eval()
  twin.load_state_dict({key: torch.tensor(x) for key, x in tensors.items()})
  again = entries.read({k: x.numpy() for k, x in twin.state_dict().items()}, table)
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  images = np.random.default_rng(1).normal(0, 1, (2, SIDE, SIDE, 3))
  images = images.astype(np.float32)
  with torch.no_grad():
    expected = twin(torch.tensor(images).permute(0, 3, 1, 2))
  found = jax.jit(functools.partial(encoder.apply, train=False))(variables, images)
  for ours, theirs in zip(found, expected, strict=True):
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
