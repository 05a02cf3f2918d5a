"""The JAX model beside its PyTorch twin, and the twin beside the original code."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.opponents import torch_twin
from benchmarks.parity import golden as original
from benchmarks.parity.cases import (
  CONFIG,
  MFCL_WEIGHT,
  MULTI_SCALE,
  SIDE,
  SIGMA,
  TEMPERATURE,
  Row,
  evaluation,
  make_batch,
  make_views,
  relative_error,
  seeded_weights,
  training,
)
from fskd_jax import episode
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.detector import FewShotDetector, init_variables

SGD_RATE = 1e-4
"""The default of training. Where steps overshoot, rounding grows tenfold with each."""


def rows() -> Iterator[Row]:
  """Compares JAX with the twin, both ways."""
  batch, negatives = example(SIDE, images=2)
  variables = random_variables(CONFIG)
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
  variables = random_variables(MULTI_SCALE)
  exported = torch_names.state_dict(variables, MULTI_SCALE)
  yield Row(
    "three scales, all options: heat-maps",
    _heatmap_error(exported, variables, batch, multi_scale=True),
  )
  variables = torch_names.load_state_dict(weights, CONFIG)
  yield Row(
    "losses of three steps of SGD", _sgd_error(weights, variables, batch, negatives)
  )
  yield Row("gradient norms, encoder in float64", _float64_gradient_error())


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


def rounding_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  """Compares the original's gradients (float32) with the twin's in float64."""
  gradient = gradients(
    original.golden_weights(golden),
    original.golden_batch(golden, all_visible=True),
    original.golden_negatives(golden),
    torch.float64,
  )
  yield from original.gradient_rows(golden, gradient)


def example(side: int, images: int) -> tuple[EpisodeBatch, np.ndarray]:
  """Draws two episodes of `images` support and query images, and negatives."""
  rng = np.random.default_rng(0)
  b, t, n = 2, images, 5

  def views() -> Views:
    return make_views(
      images=rng.standard_normal((b, t, side, side, 3), dtype=np.float32),
      keypoints=rng.uniform(0, side - 1, (b, t, n, 2)).astype(np.float32),
      visible=rng.random((b, t, n)) < 0.8,
    )

  negatives = rng.uniform(0, side - 1, (b, 2 * t, 10, 2)).astype(np.float32)
  return make_batch(views(), views()), negatives


def random_variables(config: ModelConfig) -> dict[str, Any]:
  """Draws variables in Flax's structure: He-scaled kernels, live norms."""
  network, rng = FewShotDetector(config, SIDE), np.random.default_rng(1)
  shapes = jax.eval_shape(lambda: init_variables(network, seed=0))

  def draw(path: Any, leaf: Any) -> np.ndarray:
    noise = rng.standard_normal(leaf.shape, dtype=np.float32)
    if path[-1].key == "kernel":
      return noise * np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
    if path[-1].key in ("scale", "var"):
      return 1 + np.float32(0.1) * np.abs(noise)
    return np.float32(0.1) * noise

  return jax.tree_util.tree_map_with_path(draw, shapes)


def twin(
  weights: Mapping[str, np.ndarray],
  dtype: torch.dtype = torch.float32,
  side: int = SIDE,
  config: ModelConfig = CONFIG,
) -> torch_twin.LightweightDetector:
  """Loads a state dict into the twin."""
  network = torch_twin.LightweightDetector(dataclasses.asdict(config), side)
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
  network = twin(weights, dtype, batch.query.images.shape[2]).train()
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
    network.image_size,
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
  weights: Mapping[str, np.ndarray],
  variables: Any,
  batch: EpisodeBatch,
  multi_scale: bool = False,
) -> float:
  network = twin(weights, config=MULTI_SCALE if multi_scale else CONFIG).eval()
  with torch.no_grad():
    expected, _ = network(*_inputs(batch))
  found = evaluation(multi_scale)(variables, batch)
  # Of a type that no support shows, both draw maps of a zero prototype.
  return max(relative_error(x, y.numpy()) for x, y in zip(found, expected))


def _sgd_error(
  weights: Mapping[str, np.ndarray],
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  negatives: np.ndarray,
) -> float:
  """Trains both on the same episodes."""
  network = twin(weights).train()
  optimizer = torch.optim.SGD(network.parameters(), SGD_RATE)
  params, errors = variables["params"], []
  for _ in range(3):
    expected = _loss(network, batch, negatives)
    optimizer.zero_grad()
    expected.backward()
    optimizer.step()
    (found, _), gradient = training()(
      params, variables["batch_stats"], batch, negatives
    )
    # In NumPy: nothing more is compiled for every shape.
    params = jax.tree.map(
      lambda p, g: p - np.float32(SGD_RATE) * np.asarray(g), params, gradient
    )
    errors.append(relative_error(found, expected.item()))
  return max(errors)


def _float64_gradient_error() -> float:
  """Compares where nothing is rounded enough to flip a ReLU, on small images."""
  side = SIDE // 2
  batch, negatives = example(side, images=1)
  entries = torch_names.detector_table(CONFIG)
  weights = seeded_weights({entry.name: entry.torch_shape for entry in entries})
  expected = gradients(weights, batch, negatives, torch.float64)

  def views(part: Views) -> Views:
    return part._replace(
      images=part.images.astype(np.float64), keypoints=part.keypoints.astype(np.float64)
    )

  batch = batch._replace(support=views(batch.support), query=views(batch.query))
  with jax.enable_x64(True):
    variables = jax.tree.map(np.float64, torch_names.load_state_dict(weights, CONFIG))
    _, gradient = training("float64", side)(
      variables["params"], variables["batch_stats"], batch, negatives.astype(np.float64)
    )
    found = torch_names.state_dict(variables | {"params": gradient}, CONFIG)
  return max(
    relative_error(np.linalg.norm(found[name]), np.linalg.norm(value))
    for name, value in expected.items()
  )
