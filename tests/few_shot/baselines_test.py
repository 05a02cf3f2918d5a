"""Copied coordinates, worked out by hand; the untrained encoder."""

import jax
import numpy as np
import pytest

from fskd_jax import geometry
from fskd_jax.config import ModelConfig, PyramidConfig
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot import baselines
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.pose import baselines as pose_baselines


def _views(points, visible, boxes, to_original):
  """One episode; points and boxes in pixels of the original images."""
  to_original = np.asarray(to_original, np.float32)
  return Views(
    images=np.zeros((1, len(points)), np.int32),
    keypoints=geometry.apply_affine(
      geometry.invert_affine(to_original), np.asarray(points, np.float64)
    )[None],
    visible=np.asarray(visible, bool)[None],
    to_original=to_original[None],
    box=np.asarray(boxes, np.float32)[None],
    image_size=np.full((1, len(points), 2), 200, np.float32),
    instance=np.zeros((1, len(points)), np.int64),
  )


UPRIGHT = [[1, 0, 0], [0, 1, 0]]
SHIFTED = [[2, 0, 10], [0, 2, -6]]  # crop at half the size
MIRRORED = [[-1, 0, 90], [0, 1, 5]]
TURNED = [[0, -3, 120], [3, 0, 7]]  # by a quarter, and reduced by 3


def _episode(shots, query_boxes, query_matrices):
  points, visible, boxes, matrices = zip(*shots)
  support = _views(points, visible, boxes, matrices)
  count = len(query_boxes)
  anything = np.full((count, len(points[0]), 2), 17.0)
  seen = np.ones((count, len(points[0])), bool)
  query = _views(anything, seen, query_boxes, query_matrices)
  ids = np.arange(len(points[0]), dtype=np.int32)[None]
  return EpisodeBatch(support, query, ids, ids > 99, np.zeros(1, np.int32))


def _copied(episode):
  """Predictions in pixels of the original query images, [m n 2]."""
  return geometry.apply_affine(
    episode.query.to_original, baselines.copy_support(episode)
  )[0]


@pytest.mark.parametrize("support", [UPRIGHT, SHIFTED, MIRRORED, TURNED])
@pytest.mark.parametrize("query", [UPRIGHT, SHIFTED, MIRRORED, TURNED])
def test_one_shot_keeps_the_place_in_the_box_of_the_original_image(support, query):
  # 1/4 of the width and 3/4 of the height of a box of 40 x 20, whatever the crops.
  shot = ([[20, 35]], [True], [10, 20, 40, 20], support)
  found = _copied(_episode([shot], [[100, 50, 80, 8]], [query]))
  np.testing.assert_allclose(found, [[[120, 56]]], atol=1e-4)


def test_shots_are_averaged_where_they_show_the_type():
  first = ([[20, 35], [10, 20], [12, 34]], [1, 1, 0], [10, 20, 40, 20], SHIFTED)
  second = ([[75, 90], [55, 51], [1, 2]], [1, 0, 0], [0, 50, 100, 50], TURNED)
  found = _copied(
    _episode([first, second], [[0, 0, 10, 100], [60, 70, 20, 20]], [MIRRORED, UPRIGHT])
  )
  # (1/4, 3/4) and (3/4, 4/5); (0, 0) of the first alone; the centre of the box.
  relative = np.array([[0.5, 0.775], [0, 0], [0.5, 0.5]])
  np.testing.assert_allclose(found[0], relative * [10, 100], atol=1e-4)
  np.testing.assert_allclose(found[1], [60, 70] + relative * [20, 20], atol=1e-4)


def test_predictions_are_pixels_of_the_crops():
  shot = ([[20, 35]], [True], [10, 20, 40, 20], UPRIGHT)
  batch = _episode([shot], [[100, 50, 80, 8]] * 2, [SHIFTED, MIRRORED])
  found = baselines.copy_support(batch)
  assert found.shape == batch.query.keypoints.shape == (1, 2, 1, 2)
  np.testing.assert_allclose(found[0, :, 0], [[55, 31], [-30, 51]], atol=1e-4)


def test_the_query_annotations_are_not_looked_at():
  shot = ([[20, 35]], [True], [10, 20, 40, 20], UPRIGHT)
  batch = _episode([shot], [[100, 50, 80, 8]], [SHIFTED])
  hidden = batch.query._replace(
    keypoints=np.zeros_like(batch.query.keypoints),
    visible=np.zeros_like(batch.query.visible),
  )
  np.testing.assert_array_equal(
    baselines.copy_support(batch), baselines.copy_support(batch._replace(query=hidden))
  )


def test_the_untrained_model_is_the_encoder_and_a_correlation():
  model = ModelConfig(encoder="small", small_widths=(8, 8, 8, 8), strides=(8, 16))
  untrained = baselines.untrained_model(model)
  assert untrained.encoder == "small" and untrained.strides == (8, 16)
  assert untrained.small_widths == model.small_widths
  assert untrained.kernel_generator == "prototype"
  assert untrained.similarity == "cosine"
  assert untrained.heatmap_upsampling == "none"
  assert model.kernel_generator == "srm_crm"


def test_the_mean_pose_is_placed_in_every_box():
  def person(box, points, visible):
    return Instance(
      instance_id=0,
      image=0,
      image_size=(200, 200),
      species="cat",
      box=box,
      keypoints=np.float32(points),
      visible=np.array(visible),
    )

  persons = [
    person((10, 20, 40, 80), [[20, 60], [0, 0], [9, 9]], [True, False, False]),
    person((0, 0, 100, 100), [[75, 0], [50, 80], [9, 9]], [True, True, False]),
  ]
  pose = pose_baselines.mean_pose(persons, np.int32([1, 0, 2]))
  np.testing.assert_allclose(pose, [[0.5, 0.8], [0.5, 0.25], [0.5, 0.5]])
  batch = _episode(
    [([[0, 0]] * 3, [True] * 3, (0, 0, 1, 1), UPRIGHT)],
    [(100, 50, 20, 40)],
    [SHIFTED],
  )
  found = pose_baselines.place_pose(pose, batch)
  expected = (np.array([[110, 82], [110, 60], [110, 70]]) - [10, -6]) / 2
  np.testing.assert_allclose(found[0], np.c_[expected, np.ones(3)], rtol=1e-6)


@pytest.mark.slow
def test_beside_a_pyramid_the_frozen_maps_remain():
  """Where nothing of the pyramid is left, the frozen maps are all that it returns."""
  config = PyramidConfig(width=8, inputs=(8, 16), beside=(8,))
  model = ModelConfig(
    encoder="efficientnet_lite0",
    strides=(8,),
    pyramid=config,
    batch_norm="frozen",
    freeze_until="stage5",
    similarity="cosine",
  )
  detector = FewShotDetector(model, 32)
  fresh = jax.device_get(init_variables(detector, 0))  # NumPy compiles nothing
  trained = jax.tree.map(lambda x: 1.1 * x + 0.01, fresh)
  kept = baselines.frozen_maps(fresh, trained)
  assert jax.tree.structure(kept) == jax.tree.structure(fresh)
  images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
  encode = jax.jit(
    lambda variables: detector.apply(
      variables, images, method=lambda d, x: d.encoder(x, train=False)[0]
    )
  )
  features = [encode(variables) for variables in (kept, trained)]
  bare, whole = map(np.asarray, features)
  np.testing.assert_array_equal(bare[..., -8:], 0)
  np.testing.assert_array_equal(bare[..., :-8], whole[..., :-8])
  assert np.abs(whole[..., -8:]).max() > 0
