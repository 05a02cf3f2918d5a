"""What is compared: one model, its compiled functions, weights and episodes."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fskd_jax import episode
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot import losses
from fskd_jax.heatmaps import losses as heatmap_losses
from fskd_jax.models import aggregator
from fskd_jax.models.detector import FewShotDetector

SIDE, SIGMA, MFCL_WEIGHT, TEMPERATURE = 128, 14 / 128, 0.002, 0.05
SIZES = (1, 3, 5)
CONFIG = ModelConfig(
  kernel_sizes=SIZES,
  pool_sigma=SIGMA,
  truncate_pooling_center=True,
  heatmap_scale=(4.0,),
  freeze_until="",
)
MULTI_SCALE = dataclasses.replace(
  CONFIG,
  strides=(8, 16, 32),
  shared_crm=False,
  bias_net=True,
  similarity="cosine",
  temperature=3.0,
  query_upsampling=(1.0, 1.0, 2.0),
  heatmap_upsampling="conv2",
  heatmap_scale=(1.0, 2.0, 2.0),
  truncate_pooling_center=False,
)
"""The options that `CONFIG` leaves alone."""


class Row(NamedTuple):
  """The largest error of a group, and what it may be."""

  group: str
  error: float
  limit: float = 1e-4


def relative_error(found: Any, expected: Any) -> float:
  """Largest difference as a part of the largest absolute value expected."""
  found, expected = np.asarray(found), np.asarray(expected)
  if found.shape != expected.shape:
    raise ValueError(f"shapes differ: {found.shape}, expected {expected.shape}")
  return float(np.abs(found - expected).max() / np.abs(expected).max())


def normalized_to_pixels(points: Any, length: float) -> Any:
  """Converts the original's coordinates, [-1, 1] over the image, to pixels."""
  return (points + 1.0) * (length / 2.0)


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
  """Draws the weights that the golden numbers were computed with."""
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


def detector(dtype: str = "float32", side: int = SIDE) -> FewShotDetector:
  """Returns the detector; "float64" is of the encoder and the correlation."""
  return FewShotDetector(dataclasses.replace(CONFIG, compute_dtype=dtype), side)


@functools.cache
def evaluation(multi_scale: bool = False) -> Any:
  """Compiles (variables, batch) -> heat-maps, with running statistics."""
  network = FewShotDetector(MULTI_SCALE if multi_scale else CONFIG, SIDE)
  apply = functools.partial(network.apply, train=False, method="detect_normalized")
  return jax.jit(lambda variables, batch: apply(variables, batch).heatmaps)


@functools.cache
def training(dtype: str = "float32", side: int = SIDE) -> Any:
  """Compiles (params, batch_stats, batch, negatives) -> ((loss, terms), gradient)."""
  network = detector(dtype, side)

  def loss(params, batch_stats, batch, negatives):
    output, _ = network.apply(
      {"params": params, "batch_stats": batch_stats},
      batch,
      train=True,
      method="detect_normalized",
      mutable=["batch_stats"],
    )
    heatmap = jnp.stack(
      [
        mean(
          *heatmap_losses.heatmap_loss(
            maps,
            batch.query.keypoints,
            episode.valid_queries(batch),
            stride=side / maps.shape[-1],
            sigma=SIGMA * side,
            kind="mse",
          )
        )
        for maps in output.heatmaps
      ]
    ).mean()
    views = episode.all_views(batch)
    pool = functools.partial(
      aggregator.pool_features,
      output.features,
      image_size=side,
      sigma=SIGMA,
      truncate_center=True,
    )
    mfcl = mean(
      *losses.mfcl_loss(
        pool(views.keypoints),
        views.visible,
        batch.keypoint_ids,
        pool(negatives),
        TEMPERATURE,
      )
    )
    return heatmap + MFCL_WEIGHT * mfcl, (heatmap, mfcl)

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


def mean(total: Any, count: Any) -> Any:
  return total / jnp.maximum(count, 1.0)


def make_views(images: np.ndarray, keypoints: np.ndarray, visible: np.ndarray) -> Views:
  """Makes views of which only this is looked at."""
  b, t = visible.shape[:2]
  unused = np.zeros((b, t, 1), np.float32)
  return Views(images, keypoints, visible, unused, unused, unused, unused)


def make_batch(support: Views, query: Views) -> EpisodeBatch:
  """Makes episodes that all have the same types."""
  b, _, n = support.visible.shape
  ids = np.tile(np.arange(n, dtype=np.int32), (b, 1))
  return EpisodeBatch(support, query, ids, ids < 0, np.arange(b, dtype=np.int32))
