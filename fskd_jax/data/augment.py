"""Draws crops as 2x3 matrices: position, scale, rotation and mirroring.

One matrix per image, from pixels of the crop to pixels of the original image, combines
mirror, rotation, crop, scaling and padding, so that pixels are resampled once and
keypoints are mapped exactly. A box (x, y, w, h) covers the pixels x .. x + w - 1.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from fskd_jax import geometry
from fskd_jax.config import DataConfig

REFERENCE_CONTEXT = 0.8
"""Largest extension of a crop, as a part of the distance from the box to the border of
the image. Source: docs/algorithm.md#augmentation."""


def training_crops(
  boxes: Float[np.ndarray, "t 4"],
  image_sizes: Float[np.ndarray, "t 2"],
  cfg: DataConfig,
  rng: np.random.Generator,
) -> Float32[np.ndarray, "t 2 3"]:
  """Draws a random crop for every image: mirror, rotation, position, size and tilt.

  With `crop="context"` the crop is the hull of the box, extended on each side by
  a random part (up to `crop_context`) of the way to the border of the image, and
  completed to a square about its centre; "box" is the square of `evaluation_crops`.
  `scale_range` and `shift` then jitter the square.

  Args:
    boxes: (x, y, w, h) in pixels of the original images.
    image_sizes: (width, height) of the original images.
    cfg: The probabilities and ranges.
    rng: The random generator, which is advanced.

  Returns:
    The `to_original` matrices of `episode.Views`.

  Source: docs/algorithm.md#augmentation, without truncation to integers and without the
  original's RelativeResize, which its later resize of the longer side cancels. The
  square is completed by more of the image, not by padding, where there is image.
  """
  num = len(boxes)
  mirrored = rng.random(num) < cfg.flip_probability
  turned = rng.random(num) < cfg.rotation_probability
  limit = np.deg2rad(cfg.rotation_degrees)
  angles = rng.uniform(-limit, limit, num) * turned
  axes = geometry.crop_axes(angles, mirrored)

  offsets = geometry.box_center(boxes) - (image_sizes - 1) / 2
  centers = np.einsum("tij,ti->tj", axes, offsets)
  if cfg.crop == "context":
    # Extents of a rectangle along turned axes: the sum of |cos| and |sin| parts.
    box_half = np.einsum("tij,ti->tj", abs(axes), boxes[:, 2:] / 2)
    image_half = np.einsum("tij,ti->tj", abs(axes), image_sizes / 2)
    low, high = centers - box_half, centers + box_half
    reach = cfg.crop_context * rng.random((2, num, 2))
    low = low - reach[0] * np.maximum(low + image_half, 0)
    high = high + reach[1] * np.maximum(image_half - high, 0)
    centers, sides = (low + high) / 2, (high - low).max(axis=1)
  else:
    sides = cfg.crop_margin * boxes[:, 2:].max(axis=1)

  sides = sides / rng.uniform(*cfg.scale_range, num)
  centers = centers + rng.uniform(-cfg.shift, cfg.shift, (num, 2)) * sides[:, None]
  origins = (image_sizes - 1) / 2 + np.einsum("tij,tj->ti", axes, centers)
  crops = geometry.crop_matrix(origins, sides, angles, mirrored, _size(cfg))
  # Without tilt nothing more is drawn: streams of older runs stay as they were.
  return tilted(crops, origins, cfg.tilt_degrees, rng) if cfg.tilt_degrees else crops


def tilted(
  to_original: Float32[np.ndarray, "t 2 3"],
  centers: Float[np.ndarray, "t 2"],
  degrees: float,
  rng: np.random.Generator,
) -> Float32[np.ndarray, "t 2 3"]:
  """Tilts what each crop shows, as if the picture were a plane turned in depth.

  The view of a camera far away (weak perspective): one random direction is shortened by
  the cosine of the angle. Area and centre stay.

  Args:
    to_original: The matrices of crops.
    centers: Their centres in the original images, pixels.
    degrees: Largest angle; angles are uniform.
    rng: The random generator, which is advanced.
  """
  num = len(to_original)
  stretch = np.cos(np.deg2rad(rng.uniform(0, degrees, num))) ** -0.5
  angle = rng.uniform(0, np.pi, num)
  along = np.stack([np.cos(angle), np.sin(angle)], -1)
  outer = along[:, :, None] * along[:, None]
  unit, stretch = np.eye(2), stretch[:, None, None]
  linear = (outer * stretch + (unit - outer) / stretch) @ to_original[:, :, :2]
  middle = np.linalg.solve(
    to_original[:, :, :2].astype(np.float64),
    (centers - to_original[:, :, 2])[..., None],
  )
  shift = centers[..., None] - linear @ middle
  return np.concatenate([linear, shift], axis=-1).astype(np.float32)


def evaluation_crops(
  boxes: Float[np.ndarray, "t 4"], cfg: DataConfig
) -> Float32[np.ndarray, "t 2 3"]:
  """Returns the upright square about each box, `crop_margin` its longer side.

  Source: our own; the original code draws random crops for testing, too.
  """
  sides = cfg.crop_margin * boxes[:, 2:].max(axis=1)
  return _upright(geometry.box_center(boxes), sides, cfg)


def reference_crops(
  boxes: Float[np.ndarray, "t 4"],
  image_sizes: Float[np.ndarray, "t 2"],
  cfg: DataConfig,
  rng: np.random.Generator,
) -> Float32[np.ndarray, "t 2 3"]:
  """Draws the crops that the original tests on.

  Whole pixels around the box, each side moved out by int(0.8 u), u being a random
  whole number from 0 to the distance to the border, then completed to a square.

  Args:
    boxes: (x, y, w, h) in pixels, inside their images.
    image_sizes: (width, height) of the images.
    cfg: The `image_size` of the crops.
    rng: The random generator, which is advanced; the original has no seed.

  Source: docs/algorithm.md#augmentation. The original pads the square; here it is
  completed by more of the image where there is image.
  """
  low = np.floor(boxes[:, :2])
  high = np.minimum(np.floor(boxes[:, :2] + boxes[:, 2:]) + 1, image_sizes - 1)
  room = np.stack([low, image_sizes - 1 - high]).astype(np.int64)
  margins = np.floor(REFERENCE_CONTEXT * rng.integers(0, room, endpoint=True))
  low, high = low - margins[0], high + margins[1]
  sides = (high - low + 1).max(axis=1)
  return _upright((low + high) / 2, sides, cfg)


def place_keypoints(
  keypoints: Float[np.ndarray, "t v 2"],
  visible: Bool[np.ndarray, "t v"],
  to_original: Float32[np.ndarray, "t 2 3"],
  permutation: Int[np.ndarray, " v"],
  size: tuple[int, int],
) -> tuple[Float32[np.ndarray, "t v 2"], Bool[np.ndarray, "t v"]]:
  """Maps annotated keypoints of the original images into crops.

  Args:
    keypoints: (x, y) in pixels of the original images; arbitrary where not visible.
    visible: Whether each keypoint is annotated.
    to_original: The matrices of the crops; left and right are exchanged in mirrored
      ones.
    permutation: The types in a mirror, by `keypoint_types.flip_permutation`.
    size: (height, width) of the crops in pixels.

  Returns:
    The keypoints in pixels of the crops, and their visibility: a visible keypoint lies
    between -0.5 and the width or height less 0.5. Invisible keypoints are clamped into
    the crop.
  """
  mirrored = np.linalg.det(to_original[:, :, :2]) < 0
  identity = np.arange(len(permutation))
  types = np.where(mirrored[:, None], permutation, identity)
  rows = np.arange(len(keypoints))[:, None]
  visible = visible[rows, types]
  to_crop = geometry.invert_affine(to_original.astype(np.float64))
  points = np.where(visible[..., None], keypoints[rows, types], 0.0)
  moved = geometry.apply_affine(to_crop, points)
  extent = np.array(size[::-1])
  inside = ((moved >= -0.5) & (moved < extent - 0.5)).all(axis=-1)
  visible = visible & inside
  clamped = np.clip(moved, 0, extent - 1)
  return np.where(visible[..., None], moved, clamped).astype(np.float32), visible


def _upright(
  centers: Float[np.ndarray, "t 2"], sides: Float[np.ndarray, " t"], cfg: DataConfig
) -> Float32[np.ndarray, "t 2 3"]:
  return geometry.crop_matrix(centers, sides, 0.0, False, _size(cfg))


def _size(cfg: DataConfig) -> tuple[int, int]:
  return cfg.image_size, cfg.image_size
