"""The JAX model beside its PyTorch twin, and the twin beside the original code."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import torch

from benchmarks import torch_twin
from benchmarks.parity import golden as original
from benchmarks.parity.cases import (
  CONFIG,
  MFCL_WEIGHT,
  SIDE,
  SIGMA,
  TEMPERATURE,
  Row,
  detector,
  evaluation,
  make_batch,
  make_views,
  relative_error,
  seeded_weights,
  training,
)
from fskd_jax import episode
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.detector import init_variables

SGD_RATE = 0.01


def rows() -> Iterator[Row]:
  """Compares JAX with the twin, both ways."""
  batch, negatives = example()
  variables = init_variables(detector(), seed=0)
  weights = torch_names.state_dict(variables, CONFIG)
  yield Row(
    "JAX weights in PyTorch: heat-maps", _heatmap_error(weights, variables, batch)
  )
  torch.manual_seed(0)
  network = torch_twin.LightweightDetector(dataclasses.asdict(CONFIG), SIDE)
  weights = {name: x.numpy() for name, x in network.state_dict().items()}
  variables = torch_names.load_state_dict(weights, CONFIG)
  yield Row(
    "PyTorch weights in JAX: heat-maps", _heatmap_error(weights, variables, batch)
  )
  yield Row(
    "losses of three steps of SGD", _sgd_error(weights, variables, batch, negatives)
  )
  weights = original_like_weights()
  yield Row(
    "gradient norms, encoder in float64",
    _float64_gradient_error(weights, batch, negatives),
  )


def golden_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  """Compares the twin with the original code."""
  weights = original.golden_weights(golden)
  batch = original.golden_batch(golden, all_visible=False)
  network = twin(weights).eval()
  with torch.no_grad():
    heatmaps, _ = network(*_inputs(batch))
  found = [maps.numpy() for maps in heatmaps]
  yield Row(
    "model: heat-maps, eval", max(original.golden_heatmap_errors(golden, found))
  )
  exact = original.golden_batch(golden, all_visible=True)
  negatives = original.golden_negatives(golden)
  gradient = gradients(weights, exact, negatives, torch.float64)
  yield from original.gradient_rows(golden, gradient, "twin in float64")


def example() -> tuple[EpisodeBatch, np.ndarray]:
  """Draws two episodes of 2 + 2 images with five types, and their negatives."""
  rng = np.random.default_rng(0)

  def views() -> Views:
    return make_views(
      images=rng.standard_normal((2, 2, SIDE, SIDE, 3), dtype=np.float32),
      keypoints=rng.uniform(0, SIDE - 1, (2, 2, 5, 2)).astype(np.float32),
      visible=rng.random((2, 2, 5)) < 0.8,
    )

  negatives = rng.uniform(0, SIDE - 1, (2, 4, 10, 2)).astype(np.float32)
  return make_batch(views(), views()), negatives


def original_like_weights() -> dict[str, np.ndarray]:
  """Draws weights whose gradients are as hard as those of the golden numbers."""
  entries = torch_names.detector_table(CONFIG)
  return seeded_weights({entry.name: entry.torch_shape for entry in entries})


def twin(
  weights: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32
) -> torch_twin.LightweightDetector:
  """Loads a state dict into the twin."""
  network = torch_twin.LightweightDetector(dataclasses.asdict(CONFIG), SIDE)
  tensors = {name: torch.tensor(value) for name, value in weights.items()}
  network.load_state_dict(tensors)
  return network.to(dtype)


def gradients(
  weights: Mapping[str, np.ndarray],
  batch: EpisodeBatch,
  negatives: np.ndarray,
  dtype: torch.dtype,
) -> dict[str, np.ndarray]:
  """Returns the gradient of the training loss, by name."""
  network = twin(weights, dtype).train()
  _loss(network, batch, negatives, dtype).backward()
  return {
    name: parameter.grad.numpy()
    for name, parameter in network.named_parameters()
    if parameter.grad is not None
  }


def _inputs(batch: EpisodeBatch, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
  support, query = batch.support, batch.query
  images = [torch.tensor(x.images, dtype=dtype) for x in (support, query)]
  first, second = (x.permute(0, 1, 4, 2, 3).contiguous() for x in images)
  keypoints = torch.tensor(support.keypoints, dtype=dtype)
  return first, keypoints, torch.tensor(support.visible), second


def _loss(
  network: torch_twin.LightweightDetector,
  batch: EpisodeBatch,
  negatives: np.ndarray,
  dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
  heatmaps, features = network(*_inputs(batch, dtype))
  heatmap_loss = torch_twin.heatmap_loss(
    heatmaps,
    torch.tensor(batch.query.keypoints, dtype=dtype),
    torch.tensor(episode.valid_queries(batch)),
    SIDE,
    SIGMA,
  )
  views = episode.all_views(batch)
  mfcl_loss = torch_twin.mfcl_loss(
    network.pool(features, torch.tensor(views.keypoints, dtype=dtype)),
    torch.tensor(views.visible),
    torch.tensor(batch.keypoint_ids),
    network.pool(features, torch.tensor(negatives, dtype=dtype)),
    TEMPERATURE,
  )
  return heatmap_loss + MFCL_WEIGHT * mfcl_loss


def _heatmap_error(
  weights: Mapping[str, np.ndarray], variables: Any, batch: EpisodeBatch
) -> float:
  with torch.no_grad():
    expected, _ = twin(weights).eval()(*_inputs(batch))
  found = evaluation()(variables, batch)
  # Of a type that no support shows, both draw maps of a zero prototype.
  return max(relative_error(x, y.numpy()) for x, y in zip(found, expected))


def _sgd_error(
  weights: Mapping[str, np.ndarray],
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  negatives: np.ndarray,
) -> float:
  """Trains both on the same episodes; the loss before each step and after the last."""
  network = twin(weights).train()
  optimizer = torch.optim.SGD(network.parameters(), SGD_RATE)
  params, expected, found = variables["params"], [], []
  for _ in range(4):
    loss = _loss(network, batch, negatives)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    expected.append(loss.item())
    (loss, _), gradient = training()(params, variables["batch_stats"], batch, negatives)
    params = jax.tree.map(lambda p, g: p - SGD_RATE * g, params, gradient)
    found.append(float(loss))
  return max(relative_error(x, y) for x, y in zip(found, expected))


def _float64_gradient_error(
  weights: Mapping[str, np.ndarray], batch: EpisodeBatch, negatives: np.ndarray
) -> float:
  expected = gradients(weights, batch, negatives, torch.float64)

  def views(part: Views) -> Views:
    return part._replace(
      images=part.images.astype(np.float64), keypoints=part.keypoints.astype(np.float64)
    )

  batch = batch._replace(support=views(batch.support), query=views(batch.query))
  with jax.enable_x64(True):
    variables = jax.tree.map(np.float64, torch_names.load_state_dict(weights, CONFIG))
    _, gradient = training("float64")(
      variables["params"], variables["batch_stats"], batch, negatives.astype(np.float64)
    )
    found = torch_names.state_dict(variables | {"params": gradient}, CONFIG)
  return max(
    relative_error(np.linalg.norm(found[name]), np.linalg.norm(value))
    for name, value in expected.items()
  )
