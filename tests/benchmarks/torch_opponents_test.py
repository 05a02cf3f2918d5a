"""The PyTorch opponents of the benchmarks do what our detectors do."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from benchmarks.parity.cases import make_batch, make_views, seeded_weights
from fskd_jax.config import ModelConfig
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.mds import Modulator

torch = pytest.importorskip(
  "torch", reason="the opponents are PyTorch: make bench installs it"
)

SIDE, SIGMA = 32, 0.1
MULTI_SCALE = ModelConfig(
  strides=(8, 16),
  kernel_sizes=(1, 3),
  bias_net=True,
  similarity="cosine",
  temperature=3.0,
  query_upsampling=(1.0, 2.0),
  heatmap_scale=(1.0, 2.0),
  pool_sigma=SIGMA,
)
MDS = ModelConfig(
  strides=(8,),
  freeze_until="layer1",
  head="mds",
  mds_widths=(6, 5, 4),
  kernel_sizes=(1,),
  query_upsampling=(4.0,),
  pool_sigma=SIGMA,
)


@pytest.fixture(scope="module")
def batch():
  """Two episodes, two shots, two queries, three types; one no support shows."""
  rng = np.random.default_rng(0)

  def views(t):
    return make_views(
      images=rng.standard_normal((2, t, SIDE, SIDE, 3), dtype=np.float32),
      keypoints=rng.uniform(0, SIDE - 1, (2, t, 3, 2)).astype(np.float32),
      visible=rng.random((2, t, 3)) < 0.8,
    )

  support, query = views(2), views(2)
  support.visible[:] = True
  support.visible[0, :, 2] = False
  support.visible[1, 0, 1] = False
  return make_batch(support, query)


def _inputs(batch, dtype=torch.float32):
  support, query = (
    torch.tensor(views.images, dtype=dtype).permute(0, 1, 4, 2, 3)
    for views in batch[:2]
  )
  keypoints = torch.tensor(batch.support.keypoints, dtype=dtype)
  return support, keypoints, torch.tensor(batch.support.visible), query


def test_modulate_then_detect_is_ours(batch):
  from benchmarks.opponents.torch_mds import MdsDetector

  network = MdsDetector(dataclasses.asdict(MDS), SIDE).eval()
  shapes = {name: tuple(x.shape) for name, x in network.state_dict().items()}
  weights = seeded_weights(shapes)
  network.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
  variables = torch_names.load_state_dict(weights, MDS, SIDE)
  detector = FewShotDetector(MDS, SIDE)
  apply = functools.partial(detector.apply, train=False, method="detect_normalized")
  (found,) = jax.jit(lambda v, x: apply(v, x).heatmaps)(variables, batch)
  with torch.no_grad():
    (expected,), _ = network(*_inputs(batch))
  assert expected.std((0, 1, 2)).min() > 1e-4
  np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


class TinyEncoder(torch.nn.Module):
  """One convolution to three channels per stride."""

  def __init__(self, strides, freeze_until):
    super().__init__()
    self.layers = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, s, s) for s in strides)

  def forward(self, images):
    return [layer(images).tanh() for layer in self.layers]


def _learn(module, network, batch):
  """Returns heat-maps, losses and gradients, in float64."""
  network = network.double().train()
  heatmaps, features = network(*_inputs(batch, torch.float64))
  points = torch.tensor(batch.query.keypoints, dtype=torch.float64)
  valid = batch.query.visible & batch.support.visible.any(1)[:, None]
  heatmap_loss = module.heatmap_loss(heatmaps, points, torch.tensor(valid), SIDE, SIGMA)
  keypoints, visible = (
    torch.tensor(np.concatenate([batch.support[i], batch.query[i]], 1)) for i in (1, 2)
  )
  negatives = torch.tensor(np.random.default_rng(1).uniform(0, SIDE - 1, (2, 4, 5, 2)))
  # Types come in another order in the second episode, and one is another.
  ids = torch.tensor([[0, 1, 2], [1, 0, 3]])
  mfcl_loss = module.mfcl_loss(
    network.pool(features, keypoints.double()),
    visible,
    ids,
    network.pool(features, negatives),
    0.05,
  )
  (heatmap_loss + mfcl_loss).backward()
  gradients = {name: x.grad for name, x in network.named_parameters()}
  return heatmaps, [heatmap_loss, mfcl_loss], gradients


def test_loops_change_no_number(batch, monkeypatch):
  """The twin itself is compared with JAX in interop/parity_test."""
  from benchmarks.opponents import torch_literal, torch_twin

  monkeypatch.setattr(torch_twin, "Encoder", TinyEncoder)
  monkeypatch.setattr(torch_twin, "CHANNELS", {8: 3, 16: 3})
  torch.manual_seed(0)
  config = dataclasses.asdict(MULTI_SCALE)
  twin = torch_twin.LightweightDetector(config, SIDE)
  literal = torch_literal.LiteralDetector(config, SIDE)
  literal.load_state_dict(twin.state_dict())
  found = _learn(torch_literal, literal, batch)
  expected = _learn(torch_twin, twin, batch)
  for x, y in zip(found[0] + found[1], expected[0] + expected[1]):
    assert x.abs().max() > 1e-3
    np.testing.assert_allclose(x.detach(), y.detach(), rtol=1e-6, atol=1e-9)
  for name, gradient in expected[2].items():
    largest = float(gradient.abs().max())
    assert largest > 0, name
    np.testing.assert_allclose(found[2][name], gradient, atol=1e-6 * largest)


def test_episodes_without_a_common_type_are_no_pair():
  from benchmarks.opponents import torch_literal, torch_twin

  rng = np.random.default_rng(0)
  features, negatives = torch.tensor(rng.standard_normal((2, 3, 2, 4, 5)))
  visible = torch.ones(3, 2, 4, dtype=torch.bool)
  ids = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [3, 0, 8, -1]])
  found, expected = (
    module.mfcl_loss(features, visible, ids, negatives, 0.05)
    for module in (torch_literal, torch_twin)
  )
  assert expected > 0.1
  torch.testing.assert_close(found, expected)


def test_modulators_learn_alike():
  from benchmarks.opponents import torch_mds

  rng = np.random.default_rng(0)
  query = rng.standard_normal((2, 1, 9, 9, 3)).astype(np.float32)
  prototypes = rng.standard_normal((2, 3, 3)).astype(np.float32)
  theirs = torch_mds.Modulator(3, 9, (8, 6, 8))
  params = {}
  for name, tensor in theirs.state_dict().items():
    layer, leaf = name.split(".")
    value = tensor.numpy().transpose((2, 3, 1, 0) if tensor.ndim == 4 else None)
    params.setdefault(layer, {})["kernel" if leaf == "weight" else leaf] = value

  @jax.jit
  def gradients(params, prototypes):
    ours = Modulator((8, 6, 8))
    loss = lambda p, a: (ours.apply({"params": p}, query, a) ** 2).mean()
    return jax.grad(loss, argnums=(0, 1))(params, prototypes)

  found, to_prototypes = gradients(params, prototypes)
  a = torch.tensor(prototypes, requires_grad=True)
  (theirs(torch.tensor(query).permute(0, 1, 4, 2, 3), a) ** 2).mean().backward()
  np.testing.assert_allclose(to_prototypes, a.grad, rtol=1e-3, atol=1e-6)
  for name, parameter in theirs.named_parameters():
    layer, leaf = name.split(".")
    x = np.asarray(found[layer]["kernel" if leaf == "weight" else leaf])
    x = x.transpose((3, 2, 0, 1) if x.ndim == 4 else None)
    np.testing.assert_allclose(x, parameter.grad, rtol=1e-3, atol=1e-6, err_msg=name)


def test_opponents_refuse_what_they_do_not_have():
  from benchmarks.opponents import torch_mds, torch_twin

  with pytest.raises(ValueError, match="'smd'"):
    torch_mds.MdsDetector(dataclasses.asdict(MULTI_SCALE), SIDE)
  with pytest.raises(ValueError, match="'mds'"):
    torch_twin.LightweightDetector(dataclasses.asdict(MDS), SIDE)
