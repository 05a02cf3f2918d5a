"""Crops of persons as 2x3 matrices, as top-down pose estimators cut them.

The matrices map pixels of the crop to pixels of the original image (`to_original`
of `episode.Views`), in the convention of `geometry`: the w pixels of a crop span the
whole width of the box. The usual code maps w - 1 onto w - 1 instead
(docs/transpose.md#crops-of-persons), a scale that differs by less than 1 %.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32

from fskd_jax import geometry
from fskd_jax.config import CROP_MARGIN, PoseConfig

HALF_BODY_MARGIN = 1.5
"""Width of a half-body crop divided by the width of the hull of its keypoints."""

HALF_BODY_MIN_VISIBLE = 8
"""Number of visible keypoints up to which persons never get a half-body crop."""


def evaluation_crop(
  box: Sequence[float] | Float[np.ndarray, "4"], size: tuple[int, int]
) -> Float32[np.ndarray, "2 3"]:
  """Returns the upright crop around a box.

  Args:
    box: (x, y, w, h) in pixels; it covers the pixels x .. x + w - 1.
    size: (height, width) of the crop.

  Returns:
    The matrix `to_original`.
  """
  box = np.asarray(box, np.float64)
  width = CROP_MARGIN * fitted_width(box[2], box[3], size)
  return geometry.crop_matrix(geometry.box_center(box), width, 0.0, False, size)


def fitted_width(width: float, height: float, size: tuple[int, int]) -> float:
  """Returns the width of the smallest box of the crop's aspect that holds a box.

  A box without extent counts as one pixel, so that its matrix can be inverted.
  """
  return max(width, height * size[1] / size[0], 1.0)


def training_crop(
  box: Sequence[float] | Float[np.ndarray, "4"],
  keypoints: Float[np.ndarray, "n 2"],
  visible: Bool[np.ndarray, " n"],
  lower: Bool[np.ndarray, " n"],
  size: tuple[int, int],
  *,
  cfg: PoseConfig,
  flip_probability: float,
  rng: np.random.Generator,
) -> Float32[np.ndarray, "2 3"]:
  """Draws a crop: half body, scale, rotation and mirror, in the usual order.

  Args:
    box: (x, y, w, h) in pixels, as for `evaluation_crop`.
    keypoints: The keypoints, in pixels of the original image.
    visible: Whether each keypoint is annotated.
    lower: Whether each keypoint belongs to the lower body. Half bodies are drawn only
      if some do.
    size: (height, width) of the crop.
    cfg: The probabilities and ranges.
    flip_probability: The probability of a mirrored crop.
    rng: The random generator, which is advanced.

  Returns:
    The matrix `to_original`.

  Source: docs/transpose.md#crops-of-persons.
  """
  box = np.asarray(box, np.float64)
  center = geometry.box_center(box)
  width = CROP_MARGIN * fitted_width(box[2], box[3], size)
  if (
    lower.any()
    and visible.sum() > HALF_BODY_MIN_VISIBLE
    and rng.random() < cfg.half_body_probability
  ):
    points = _half_body(keypoints, visible, lower, rng)
    center = points.mean(0, dtype=np.float64)
    w, h = points.max(0) - points.min(0)
    width = HALF_BODY_MARGIN * fitted_width(w, h, size)
  width *= 1 + cfg.scale_std * np.clip(rng.standard_normal(), -1, 1)
  angle = 0.0
  if rng.random() < cfg.rotation_probability:
    angle = np.deg2rad(cfg.rotation_std * np.clip(rng.standard_normal(), -2, 2))
  mirrored = rng.random() < flip_probability
  return geometry.crop_matrix(center, width, angle, mirrored, size)


def _half_body(
  keypoints: Float[np.ndarray, "n 2"],
  visible: Bool[np.ndarray, " n"],
  lower: Bool[np.ndarray, " n"],
  rng: np.random.Generator,
) -> Float[np.ndarray, "m 2"]:
  """Returns the visible points of the upper or of the lower body, mostly the upper."""
  upper_points, lower_points = keypoints[visible & ~lower], keypoints[visible & lower]
  prefers_upper = rng.standard_normal() < 0.5  # 69 %, as in the usual code
  if prefers_upper and len(upper_points) > 2:
    return upper_points
  return lower_points if len(lower_points) > 2 else upper_points
