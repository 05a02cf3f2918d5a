"""Identities of crops and mirrors, on drawn examples."""

import numpy as np
from helpers.affine import compose
from hypothesis import assume, given
from hypothesis import strategies as st

from fskd_jax import geometry
from fskd_jax.config import DataConfig
from fskd_jax.data import augment

SIDE = 64
MIRROR = np.array([[-1.0, 0, SIDE - 1], [0, 1, 0]])
"""Of a crop: the first column of pixels becomes the last one."""
PERMUTATION = np.array([0, 2, 1, 4, 3])
SEEDS = st.integers(0, 2**31)


@st.composite
def scenes(draw):
  """Draws a box (x, y, w, h) inside an image, and the size of the image."""
  size = np.array([draw(st.integers(2, 500)) for _ in range(2)], float)
  low, high = np.sort([[draw(st.floats(0, s)) for s in size] for _ in range(2)], axis=0)
  assume((high - low >= 1).all())
  return np.concatenate([low, high - low])[None], size[None]


def _still(**fields) -> DataConfig:
  return DataConfig(
    image_size=SIDE, flip_probability=0, rotation_probability=0, crop="box", **fields
  )


def _points(scene, seed: int):
  """Returns keypoints in and around the box, and which of them are annotated."""
  (box,), _ = scene
  rng = np.random.default_rng(seed)
  points = box[:2] + rng.uniform(-0.3, 1.3, (len(PERMUTATION), 2)) * box[2:]
  return points[None], rng.random((1, len(PERMUTATION))) < 0.8


def _inside(points, margin: float):
  return ((points > -0.5 + margin) & (points < SIDE - 0.5 - margin)).all(-1)


@given(scenes(), SEEDS)
def test_without_randomness_training_crops_are_those_of_the_evaluation(scene, seed):
  cfg = _still(crop_margin=1.4)
  drawn = augment.training_crops(*scene, cfg, np.random.default_rng(seed))
  np.testing.assert_allclose(
    drawn, augment.evaluation_crops(scene[0], cfg), rtol=1e-5, atol=1e-3
  )


@given(scenes())
def test_the_crop_of_a_mirrored_image_is_the_mirrored_crop(scene):
  boxes, sizes = scene
  (width,) = sizes[:, 0]
  mirrored_box = boxes.copy()
  mirrored_box[:, 0] = width - boxes[:, 0] - boxes[:, 2]
  mirror_image = np.array([[-1.0, 0, width - 1], [0, 1, 0]])
  (crop,) = augment.evaluation_crops(boxes, _still())
  (expected,) = augment.evaluation_crops(mirrored_box, _still())
  mirrored = compose(mirror_image, compose(crop.astype(float), MIRROR))
  np.testing.assert_allclose(mirrored, expected, rtol=1e-5, atol=1e-3)


@given(scenes(), SEEDS)
def test_every_training_crop_is_a_similarity(scene, seed):
  cfg = DataConfig(image_size=SIDE, scale_range=(0.5, 2.0), shift=0.2)
  (crop,) = augment.training_crops(*scene, cfg, np.random.default_rng(seed))
  linear = crop[:, :2].astype(float)
  scale = geometry.affine_scale(crop)
  np.testing.assert_allclose(linear.T @ linear / scale**2, np.eye(2), atol=1e-5)


@given(scenes(), SEEDS)
def test_placed_keypoints_lead_back_to_the_annotated_ones(scene, seed):
  points, annotated = _points(scene, seed)
  cfg = DataConfig(image_size=SIDE, flip_probability=0)
  crops = augment.training_crops(*scene, cfg, np.random.default_rng(seed))
  identity = np.arange(len(PERMUTATION))
  placed, visible = augment.place_keypoints(
    points, annotated, crops, identity, (SIDE, SIDE)
  )
  back = geometry.apply_affine(crops, placed)
  np.testing.assert_allclose(back[visible], points[visible], rtol=1e-4, atol=1e-2)
  moved = geometry.apply_affine(geometry.invert_affine(crops.astype(float)), points)
  np.testing.assert_array_equal(visible[annotated], _inside(moved, 0)[annotated])
  assert not visible[~annotated].any()


@given(scenes(), SEEDS)
def test_a_mirrored_crop_shows_each_type_where_its_partner_was(scene, seed):
  points, annotated = _points(scene, seed)
  crops = augment.evaluation_crops(scene[0], _still())
  mirrored = compose(crops, MIRROR[None]).astype(np.float32)
  assume(_on_no_edge(crops, points))
  size = (SIDE, SIDE)
  places = (
    augment.place_keypoints(points, annotated, crop, PERMUTATION, size)
    for crop in (crops, mirrored)
  )
  (there, seen), (here, seen_here) = places
  np.testing.assert_array_equal(seen_here, seen[:, PERMUTATION])
  expected = geometry.apply_affine(MIRROR[None], there[:, PERMUTATION])
  np.testing.assert_allclose(here[seen_here], expected[seen_here], atol=2e-2)


def _on_no_edge(crops, points) -> bool:
  """Whether rounding cannot decide if a point is inside its crop."""
  moved = geometry.apply_affine(geometry.invert_affine(crops.astype(float)), points)
  return bool((_inside(moved, 1e-2) == _inside(moved, -1e-2)).all())
