"""Crops by box and the field's augmentation."""

import numpy as np
import pytest

from fskd_jax import geometry
from fskd_jax.config import PoseConfig
from fskd_jax.pose import crops

SIZE = (256, 192)
STILL = PoseConfig(half_body_probability=0, scale_std=0, rotation_probability=0)
POINTS = np.random.default_rng(0).uniform(50, 250, (17, 2))
LOWER = np.arange(17) >= 11
ALL = np.ones(17, bool)


def _to_crop(matrix, points):
  return geometry.apply_affine(
    geometry.invert_affine(matrix.astype(np.float64)), np.asarray(points, np.float64)
  )


@pytest.mark.parametrize("box", [(30, 40, 61, 200), (10, 7, 300, 20), (5, 6, 0, 0)])
def test_the_box_lies_in_the_middle_of_its_crop_with_the_margin(box):
  x, y, w, h = box
  matrix = crops.evaluation_crop(box, SIZE)
  center = [(x + (w - 1) / 2, y + (h - 1) / 2)]
  np.testing.assert_allclose(_to_crop(matrix, center), [[95.5, 127.5]], atol=1e-3)
  # Outer edges of the crop, half a pixel beyond the centres of its last pixels.
  edges = geometry.apply_affine(matrix, np.array([[-0.5, -0.5], [191.5, 255.5]]))
  width, height = edges[1] - edges[0]
  np.testing.assert_allclose(width / height, 192 / 256, rtol=1e-5)
  assert 1.25 * max(w, 1) <= width + 1e-3 and 1.25 * h <= height + 1e-3
  fits = (width - 1.25 * max(w, 1), height - 1.25 * h)
  assert min(map(abs, fits)) < 1e-3


def field_affine(center, width, angle, size):
  """Image to crop as the field's code has it: width - 1 pixels become w - 1."""
  scale = (size[1] - 1) / (width - 1)
  cos, sin = scale * np.cos(angle), scale * np.sin(angle)
  linear = np.array([[cos, sin], [-sin, cos]])
  middle = np.array([size[1] - 1, size[0] - 1]) / 2
  return np.c_[linear, middle - linear @ center]


MEASURED = {  # docs/transpose.md#crops-of-persons: centre (100, 150), 180 pixels wide
  0: [[1.06703911, 0, -11.20391061], [0, 1.06703911, -32.55586592]],
  30: [[0.92408295, 0.53351951, -76.93622229], [-0.53351951, 0.92408295, 42.23950889]],
}


@pytest.mark.parametrize("degrees", MEASURED)
def test_the_crop_is_the_fields_but_for_its_half_pixel(degrees):
  center, angle = np.array([100.0, 150.0]), np.deg2rad(degrees)
  field = field_affine(center, 180.0, angle, SIZE)
  np.testing.assert_allclose(field, MEASURED[degrees], atol=1e-5)
  ours = geometry.invert_affine(
    geometry.crop_matrix(center, 180.0, angle, False, SIZE).astype(np.float64)
  )
  np.testing.assert_allclose(ours[:, :2], field[:, :2], rtol=1e-3)
  corners = np.array([[0, 0], [191, 0], [0, 255], [191, 255]], np.float64)
  there = geometry.apply_affine(
    ours, geometry.apply_affine(geometry.invert_affine(field), corners)
  )
  # 1 - (192 / 180) / (191 / 179) of half a side.
  np.testing.assert_allclose(there, corners, atol=0.06)


def _draws(num=600, cfg=STILL, flip=0.0, visible=ALL, lower=LOWER):
  rng = np.random.default_rng(0)
  return [
    crops.training_crop(
      (60, 50, 150, 180), POINTS, visible, lower, SIZE,
      cfg=cfg, flip_probability=flip, rng=rng,
    )
    for _ in range(num)
  ]  # fmt: skip


def test_without_augmentation_training_sees_the_evaluation_crop():
  (matrix,) = _draws(1)
  np.testing.assert_array_equal(matrix, crops.evaluation_crop((60, 50, 150, 180), SIZE))


def test_scale_rotation_and_mirror_have_the_fields_ranges():
  cfg = PoseConfig(half_body_probability=0)
  matrices = np.stack(_draws(4000, cfg, flip=0.5))
  still = crops.evaluation_crop((60, 50, 150, 180), SIZE)
  scale = geometry.affine_scale(matrices) / geometry.affine_scale(still)
  assert 0.65 - 1e-5 <= scale.min() < 0.66 and 1.34 < scale.max() <= 1.35 + 1e-5
  # Beyond one standard deviation: 16 % at either end.
  np.testing.assert_allclose((scale < 0.6501).mean(), 0.159, atol=0.025)
  mirrored = np.linalg.det(matrices[:, :, :2]) < 0
  np.testing.assert_allclose(mirrored.mean(), 0.5, atol=0.03)
  angle = np.rad2deg(np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1]))
  turned = abs(angle) > 1e-3
  np.testing.assert_allclose(turned.mean(), 0.6, atol=0.03)
  assert abs(angle).max() < 90.001
  np.testing.assert_allclose(abs(angle[turned]).mean(), 45 * 0.78, rtol=0.05)
  centers = geometry.apply_affine(matrices, np.array([[95.5, 127.5]]))
  np.testing.assert_allclose(centers - [134.5, 139.5], 0, atol=1e-3)


def test_half_bodies_are_centred_on_the_upper_or_the_lower_body():
  cfg = PoseConfig(half_body_probability=1.0, scale_std=0.0, rotation_probability=0.0)
  matrices = np.stack(_draws(2000, cfg))
  centers = geometry.apply_affine(matrices, np.array([[95.5, 127.5]]))[:, 0]
  upper = np.linalg.norm(centers - POINTS[~LOWER].mean(0), axis=1) < 1e-2
  lower = np.linalg.norm(centers - POINTS[LOWER].mean(0), axis=1) < 1e-2
  assert (upper ^ lower).all()
  np.testing.assert_allclose(upper.mean(), 0.691, atol=0.035)
  w, h = np.ptp(POINTS[~LOWER], axis=0)
  width = geometry.affine_scale(matrices[upper][0]) * SIZE[1]
  np.testing.assert_allclose(width, 1.5 * max(w, h * 192 / 256), rtol=1e-5)


def test_few_visible_points_or_no_lower_body_make_no_half_bodies():
  cfg = PoseConfig(half_body_probability=1.0, scale_std=0.0, rotation_probability=0.0)
  still = crops.evaluation_crop((60, 50, 150, 180), SIZE)
  few = _draws(20, cfg, visible=np.arange(17) < 8)
  whole = _draws(20, cfg, lower=np.zeros(17, bool))
  for matrix in few + whole:
    np.testing.assert_array_equal(matrix, still)
