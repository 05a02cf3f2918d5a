"""Targets of heat-maps, and losses against them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fskd_jax import geometry

POSITIVE_WEIGHT = 20.0
"""Additional weight, in "weighted_mse", of a cell at a keypoint over an empty cell."""


def heatmap_targets(
  keypoints_px: Float[Array, "... 2"],
  cells: tuple[int, int],
  stride: float,
  sigma: float,
) -> Float[Array, "... h w"]:
  """Draws a Gaussian around every keypoint, evaluated at the cell centres.

  The peak is at most 1 (not normalised) and the tail is cut at about 0.01.

  Args:
    keypoints_px: The keypoints, in pixels of the network's input.
    cells: (h, w) of the heat-map.
    stride: The stride of the heat-map, pixels per cell.
    sigma: The standard deviation, in pixels.

  Source: docs/algorithm.md#heat-map-loss.
  """
  points = jnp.asarray(keypoints_px, jnp.float32)
  exponents = geometry.gaussian_exponents(points, cells, stride, sigma)
  return jnp.where(exponents <= geometry.GAUSSIAN_CUT, jnp.exp(-exponents), 0.0)


def heatmap_loss(
  heatmaps: Float[Array, "b m n h w"],
  keypoints: Float[Array, "b m n 2"],
  valid: Bool[Array, "b m n"],
  *,
  stride: float,
  sigma: float,
  kind: str,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Compares heat-maps with the annotated keypoints.

  Args:
    heatmaps: The predictions; logits for "cross_entropy".
    keypoints: The keypoints, in pixels of the network's input.
    valid: Whether each keypoint counts.
    stride: The stride of the heat-maps, pixels per cell.
    sigma: The standard deviation of the targets, in pixels.
    kind: "mse", the mean squared difference to `heatmap_targets` over the cells;
      "weighted_mse", the same with weights 1 + `POSITIVE_WEIGHT` * target, which
      penalises empty maps; or "cross_entropy" between the softmax over the cells and
      the Gaussian without a cut tail, normalised over the cells.

  Returns:
    The sum over the valid keypoints, and their number.

  Raises:
    ValueError: `kind` is unknown.

  Source: docs/algorithm.md#heat-map-loss. The weights and the cross-entropy are ours.
  """
  height, width = heatmaps.shape[-2:]
  cells, heatmaps = (height, width), heatmaps.astype(jnp.float32)
  if kind in ("mse", "weighted_mse"):
    targets = heatmap_targets(keypoints, cells, stride, sigma)
    weights = 1.0 if kind == "mse" else 1.0 + POSITIVE_WEIGHT * targets
    losses = (weights * jnp.square(heatmaps - targets)).mean((-2, -1))
  elif kind == "cross_entropy":
    points = jnp.asarray(keypoints, jnp.float32)
    exponents = geometry.gaussian_exponents(points, cells, stride, sigma)
    targets = jax.nn.softmax(-exponents, axis=(-2, -1))
    losses = -(targets * jax.nn.log_softmax(heatmaps, axis=(-2, -1))).sum((-2, -1))
  else:
    raise ValueError(
      f"loss.heatmap must be 'mse', 'weighted_mse' or 'cross_entropy', got {kind!r}"
    )
  return jnp.where(valid, losses, 0.0).sum(), valid.sum(dtype=jnp.float32)
