import numpy as np
import pytest

from fskd_jax import geometry
from fskd_jax.config import DataConfig
from fskd_jax.data import augment

SIDE = 64
SIZE = (SIDE, SIDE)
NUM = 400
STILL = {"flip_probability": 0.0, "rotation_probability": 0.0}


def _config(**fields) -> DataConfig:
  return DataConfig(image_size=SIDE, **fields)


def _scene(num: int = NUM) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  sizes = rng.integers(100, 300, (num, 2)).astype(float)
  corner = rng.random((num, 2)) * sizes * 0.6
  boxes = np.concatenate([corner, 20 + rng.random((num, 2)) * 20], axis=1)
  return boxes, sizes


def _crops(seed: int = 0, **fields) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return augment.training_crops(*_scene(), _config(**fields), rng)


def _corners(boxes: np.ndarray) -> np.ndarray:
  low, high = boxes[:, :2] - 0.5, boxes[:, :2] + boxes[:, 2:] - 0.5
  x, y = np.stack([low, high], axis=-1).transpose(1, 0, 2)
  return np.stack(
    [np.stack([x[:, i], y[:, j]], axis=-1) for i in (0, 1) for j in (0, 1)], axis=1
  )


def _to_crop(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
  return geometry.apply_affine(geometry.invert_affine(matrices.astype(float)), points)


def test_the_evaluation_crop_is_a_square_about_the_box():
  matrix = augment.evaluation_crops(
    np.array([[10.0, 20, 40, 30]]), _config(crop_margin=1.5)
  )
  # The box covers pixels 10..49 and 20..49; the crop is 60 pixels wide.
  edges = np.array([[[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]]])
  moved = geometry.apply_affine(matrix, edges)
  np.testing.assert_allclose(moved, [[[-0.5, 4.5], [59.5, 64.5]]], atol=1e-5)
  assert matrix.dtype == np.float32


def _reference_crops(seed: int = 0) -> np.ndarray:
  boxes, sizes = _scene()
  rng = np.random.default_rng(seed)
  return augment.reference_crops(boxes, sizes, _config(), rng)


def test_a_reference_crop_contains_the_box_and_varies_with_the_seed():
  boxes, sizes = _scene()
  points = _to_crop(_reference_crops(), _corners(boxes))
  assert points.min() > -0.5 - 1e-4 and points.max() < SIDE - 0.5 + 1e-4
  np.testing.assert_array_equal(_reference_crops(), _reference_crops())
  moved = np.abs(_reference_crops() - _reference_crops(1)).max(axis=(1, 2))
  assert (moved > 1e-3).mean() > 0.99


def test_reference_crops_are_whole_pixels_up_to_the_context_of_the_original():
  """Each side of the crop's longer axis, over many draws, against plain loops."""
  # Long in x, so that the square's left and right are those of the crop.
  box, size, draws = np.array([[100.6, 40.2, 70.7, 5.0]]), np.array([[240.0, 60]]), 3000
  matrices = augment.reference_crops(
    box.repeat(draws, 0), size.repeat(draws, 0), _config(), np.random.default_rng(0)
  )
  edges = np.array([[-0.5, 0], [SIDE - 0.5, 0]])
  x = geometry.apply_affine(matrices.astype(float), edges[None].repeat(draws, 0))[
    ..., 0
  ]
  left, right = (x + 0.5).round(3).T
  np.testing.assert_allclose(left, left.round(), atol=2e-3)
  # The pixels 100 .. 172 hold the box; 100 lie left of them and 67 right.
  assert {*left.round()} == {100 - int(0.8 * u) for u in range(101)}
  assert {*right.round()} == {173 + int(0.8 * u) for u in range(68)}
  expected = np.mean([int(0.8 * u) for u in range(101)])
  assert 100 - left.mean() == pytest.approx(expected, abs=2)


def test_a_reference_crop_of_the_whole_image_is_the_image():
  matrix = augment.reference_crops(
    np.array([[0.0, 0, 40, 30]]),
    np.array([[40.0, 30]]),
    _config(),
    np.random.default_rng(0),
  )
  corners = np.array([[[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]]])
  moved = geometry.apply_affine(matrix, corners)
  np.testing.assert_allclose(moved, [[[-0.5, -5.5], [39.5, 34.5]]], atol=1e-4)


def test_a_still_training_crop_of_the_box_is_the_evaluation_crop():
  expected = augment.evaluation_crops(_scene()[0], _config())
  np.testing.assert_allclose(_crops(crop="box", **STILL), expected, atol=1e-4)


@pytest.mark.parametrize("crop", ["context", "box"])
def test_crops_contain_the_box_without_jitter(crop):
  matrices = _crops(crop=crop, rotation_probability=1.0, crop_margin=1.6)
  points = _to_crop(matrices, _corners(_scene()[0]))
  assert points.min() > -0.5 - 1e-4 and points.max() < SIDE - 0.5 + 1e-4


def test_a_context_crop_without_context_is_tight_about_the_box():
  boxes, _ = _scene()
  points = _to_crop(_crops(crop_context=0.0, **STILL), _corners(boxes))
  longest = np.ptp(points, axis=1).max(axis=1)
  np.testing.assert_allclose(longest, SIDE, rtol=1e-4)
  centers = points.mean(axis=1)
  np.testing.assert_allclose(centers, (SIDE - 1) / 2, atol=1e-3)


def test_a_context_crop_reaches_a_random_part_of_the_way_to_each_border():
  # A box in the middle of a wide image: the longer side is horizontal for sure.
  boxes, sizes = np.tile([450.0, 45, 100, 10], (4000, 1)), np.tile([1000.0, 100], 1)
  sizes = np.broadcast_to(sizes, (4000, 2))
  cfg = _config(crop_context=0.5, **STILL)
  matrices = augment.training_crops(boxes, sizes, cfg, np.random.default_rng(0))
  edges = np.broadcast_to([[-0.5, 0], [SIDE - 0.5, 0]], (4000, 2, 2))
  left, right = geometry.apply_affine(matrices.astype(float), edges)[:, :, 0].T
  for way in ((449.5 - left) / 450, (right - 549.5) / 450):
    assert way.min() > -1e-4 and way.max() < 0.5 + 1e-4
    assert abs(way.mean() - 0.25) < 0.01
  assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_mirror_and_rotation_come_as_often_and_as_far_as_configured():
  matrices = np.concatenate([_crops(seed) for seed in range(10)])
  mirrored = np.linalg.det(matrices[:, :, :2]) < 0
  assert abs(mirrored.mean() - 0.5) < 0.03
  angles = np.rad2deg(np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1]))
  turned = abs(angles) > 1e-4
  assert abs(turned.mean() - 0.25) < 0.03
  assert abs(angles).max() < 15 and abs(abs(angles[turned]).mean() - 7.5) < 0.5
  assert abs(angles[turned].mean()) < 0.8
  np.testing.assert_array_equal(np.linalg.det(_crops(**STILL)[:, :, :2]) > 0, True)


def test_zoom_and_shift_stay_in_their_ranges():
  still = _crops(crop="box", **STILL)
  moved = _crops(crop="box", scale_range=(0.5, 1.5), shift=0.25, **STILL)
  zoom = geometry.affine_scale(still) / geometry.affine_scale(moved)
  assert 0.4999 < zoom.min() < 0.52 and 1.48 < zoom.max() < 1.5001
  middle = np.full((NUM, 1, 2), (SIDE - 1) / 2)
  offset = (_to_crop(still, geometry.apply_affine(moved, middle)) - middle)[:, 0] / SIDE
  offset = offset * zoom[:, None]  # in sides of the zoomed crop
  assert 0.23 < abs(offset).max() <= 0.2501 and abs(offset.mean()) < 0.02


def test_a_box_without_extent_gives_a_usable_crop():
  boxes, sizes = np.array([[5.0, 5, 0, 0]]), np.array([[10.0, 10]])
  cfg = _config(crop_context=0.0)
  for matrices in (
    augment.evaluation_crops(boxes, cfg),
    augment.training_crops(boxes, sizes, cfg, np.random.default_rng(0)),
  ):
    assert np.isfinite(geometry.invert_affine(matrices)).all()


def _keypoints(types: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  rng = np.random.default_rng(3)
  boxes, _ = _scene()
  points = boxes[:, None, :2] + rng.random((NUM, types, 2)) * boxes[:, None, 2:]
  return points.astype(np.float32), rng.random((NUM, types)) < 0.7, np.arange(types)


def test_visible_keypoints_lead_back_to_the_original():
  points, visible, permutation = _keypoints()
  matrices = _crops(rotation_probability=1.0, flip_probability=0.0, shift=0.3)
  moved, seen = augment.place_keypoints(points, visible, matrices, permutation, SIZE)
  back = geometry.apply_affine(matrices, moved)
  np.testing.assert_allclose(back[seen], points[seen], atol=1e-2)
  assert not (seen & ~visible).any() and 0.3 < seen.sum() / visible.sum() < 1
  assert np.isfinite(moved).all() and moved.dtype == np.float32
  assert moved[~seen].min() >= 0 and moved[~seen].max() <= SIDE - 1
  crop = _to_crop(matrices, points)
  inside = ((crop >= -0.5) & (crop < SIDE - 0.5)).all(axis=-1)
  np.testing.assert_array_equal(seen, visible & inside)


def test_visibility_ends_at_the_edges_of_the_outermost_pixels():
  matrix = np.float32(np.eye(2, 3))[None]
  points = np.array([[[-0.5, 3], [-0.51, 3], [3, 63.49], [3, 63.5], [np.nan, 3]]])
  annotated = np.array([[True, True, True, True, False]])
  moved, seen = augment.place_keypoints(points, annotated, matrix, np.arange(5), SIZE)
  assert seen.tolist() == [[True, False, True, False, False]]
  assert np.isfinite(moved).all()
  np.testing.assert_array_equal(moved[0, [1, 3]], [[0, 3], [3, 63]])
  assert moved[0, 0].tolist() == [-0.5, 3]


def test_left_and_right_change_places_in_mirrored_crops_only():
  mirror = np.array([[[-1, 0, SIDE - 1], [0, 1, 0]]], np.float32)
  points = np.array([[[10.0, 20], [30, 40], [5, 6]]])  # left, right, nose
  visible = np.array([[True, False, True]])
  swap = np.array([1, 0, 2])
  moved, seen = augment.place_keypoints(points, visible, mirror, swap, SIZE)
  assert seen.tolist() == [[False, True, True]]
  np.testing.assert_allclose(moved[0, 1], [SIDE - 1 - 10, 20])
  np.testing.assert_allclose(moved[0, 2], [SIDE - 1 - 5, 6])
  still = np.float32(np.eye(2, 3))[None]
  moved, seen = augment.place_keypoints(points, visible, still, swap, SIZE)
  assert seen.tolist() == visible.tolist()
  np.testing.assert_allclose(moved[0, 0], [10, 20])


def test_mirroring_twice_is_the_identity():
  mirror = np.broadcast_to(
    np.array([[-1, 0, SIDE - 1], [0, 1, 0]], np.float32), (8, 2, 3)
  )
  rng = np.random.default_rng(0)
  points = (rng.random((8, 5, 2)) * (SIDE - 1)).astype(np.float32)
  visible = rng.random((8, 5)) < 0.5
  swap = np.array([0, 2, 1, 4, 3])
  once = augment.place_keypoints(points, visible, mirror, swap, SIZE)
  twice, seen = augment.place_keypoints(*once, mirror, swap, SIZE)
  np.testing.assert_array_equal(seen, visible)
  np.testing.assert_allclose(twice[seen], points[seen], atol=1e-4)


def test_tilt_keeps_centre_and_area_and_shortens_one_direction():
  plain, tilted = _crops(**STILL), _crops(**STILL, tilt_degrees=60.0)
  middle = np.full((NUM, 1, 2), (SIDE - 1) / 2)
  np.testing.assert_allclose(
    geometry.apply_affine(tilted, middle),
    geometry.apply_affine(plain, middle),
    atol=1e-3,
  )
  np.testing.assert_allclose(
    geometry.affine_scale(tilted), geometry.affine_scale(plain), rtol=1e-4
  )
  values = np.linalg.svd(tilted[:, :, :2], compute_uv=False)
  cosine = values[:, 1] / values[:, 0]
  assert cosine.min() > np.cos(np.deg2rad(60)) - 1e-3
  assert cosine.min() < 0.55 and cosine.max() > 0.99
  directions = np.linalg.svd(tilted[:, :, :2])[0][:, 0, 0]
  assert np.histogram(abs(directions), bins=4, range=(0, 1))[0].min() > NUM / 20
