import functools

import jax
import numpy as np
import pytest
from helpers import tiny_detector

from fskd_jax.config import LossConfig
from fskd_jax.few_shot import negatives

SIZE = 96
RULES = dict(image_size=SIZE, num=10, distance=0.1, box_scale=1.5)


@functools.partial(jax.jit, static_argnames=("num", "distance", "box_scale"))
def _draw(keypoints, visible, num=10, distance=0.1, box_scale=1.5):
  keys = jax.random.split(jax.random.key(0), 20)
  one = functools.partial(
    negatives.sample_negatives,
    image_size=SIZE,
    num=num,
    distance=distance,
    box_scale=box_scale,
  )
  return jax.vmap(one, in_axes=(0, None, None))(keys, keypoints, visible)


KEYPOINTS = np.float32([[30, 20], [60, 40], [44, 30], [90, 90]])
VISIBLE = np.array([True, True, True, False])


def _gaps(points, keypoints):
  offsets = np.asarray(points)[..., None, :] - keypoints
  return np.linalg.norm(offsets, axis=-1).min(-1)


def test_points_keep_their_distance_and_stay_in_the_box():
  points = np.asarray(_draw(KEYPOINTS, VISIBLE))
  assert points.shape == (20, 10, 2)
  assert _gaps(points, KEYPOINTS[VISIBLE]).min() >= 0.1 * SIZE
  low, high = np.array([22.5, 15.0]), np.array([67.5, 45.0])  # stretched by 1.5
  assert (points >= low).all() and (points <= high).all()
  # They fill the box: x reaches further than y, so x and y are not swapped.
  assert (points.min((0, 1)) < low + 3).all() and (points.max((0, 1)) > high - 3).all()


def test_hidden_keypoints_repel_nothing():
  hidden = np.concatenate([KEYPOINTS, np.float32([[25, 40]])])
  points = _draw(hidden, np.append(VISIBLE, False))
  np.testing.assert_array_equal(points, _draw(KEYPOINTS, VISIBLE))
  assert _gaps(points, hidden[-1:]).min() < 0.1 * SIZE


def _box(keypoints, visible, scale=1.0):
  return negatives.sampling_box(keypoints, visible, image_size=SIZE, scale=scale)


def test_box_falls_back_to_the_whole_image():
  whole = [[0, 0], [SIZE - 1, SIZE - 1]]
  np.testing.assert_array_equal(_box(KEYPOINTS, VISIBLE & False), whole)
  np.testing.assert_array_equal(_box(KEYPOINTS, VISIBLE & [1, 0, 0, 0]), whole)
  # 30 px of 384 are 7.5 px here; a side is counted with both of its ends.
  for height, is_box in ((6, False), (7, True)):
    flat = np.float32([[30, 20], [60, 20 + height]])
    expected = flat if is_box else whole
    np.testing.assert_array_equal(_box(flat, np.ones(2, bool)), expected)
    turned = _box(flat[:, ::-1], np.ones(2, bool))
    np.testing.assert_array_equal(turned, np.asarray(expected)[:, ::-1])


def test_the_distance_does_not_decide_about_the_box():
  # Both sides of the box are shorter than the distance, and it is drawn from all the
  # same: far from the keypoints, but in the stretched box.
  keypoints, visible = np.float32([[40, 40], [52, 52]]), np.ones(2, bool)
  points = np.asarray(_draw(keypoints, visible, distance=0.2, box_scale=6.0))
  assert _gaps(points, keypoints).min() >= 0.2 * SIZE
  assert points.min() >= 10 and points.max() <= 82


def test_box_is_clipped_to_the_image():
  points = np.asarray(_draw(KEYPOINTS, VISIBLE, box_scale=9.0))
  assert points.min() >= 0 and points.max() <= SIZE - 1


def test_a_crowded_box_is_left_for_the_rest_of_the_image():
  grid = np.stack(np.meshgrid([30, 40, 50], [30, 40, 50]), -1).reshape(-1, 2)
  points = _draw(grid.astype(np.float32), np.ones(9, bool), box_scale=1.0)
  assert _gaps(points, grid).min() >= 0.1 * SIZE


def test_without_any_free_point_the_farthest_are_taken():
  keypoints = np.float32([[0, 0], [95, 95]])
  visible = np.ones(2, bool)
  gaps = _gaps(_draw(keypoints, visible, distance=2.0), keypoints)
  typical = np.random.default_rng(0).uniform(0, SIZE - 1, (1000, 2))
  assert gaps.min() > np.median(_gaps(typical, keypoints))


@pytest.mark.slow
def test_batch_points_depend_on_seed_episode_and_place_alone():
  loss = LossConfig(
    negatives_per_image=RULES["num"],
    negative_distance=RULES["distance"],
    negative_box_scale=RULES["box_scale"],
  )

  @functools.partial(jax.jit, static_argnums=1)
  def sample(indices, seed):
    batch = tiny_detector.episodes(b=len(indices), k=1, m=1)
    support, query = (
      views._replace(
        keypoints=np.tile(KEYPOINTS, (len(indices), 1, 1, 1)),
        visible=np.tile(VISIBLE, (len(indices), 1, 1)),
      )
      for views in (batch.support, batch.query)
    )
    batch = batch._replace(support=support, query=query, episode_index=indices)
    return negatives.of_batch(batch, loss, seed, SIZE)

  points = np.asarray(sample(np.int32([4, 5, -1]), 7))
  assert points.shape == (3, 2, 10, 2)
  alone = sample(np.int32([5]), 7)
  np.testing.assert_array_equal(points[1], alone[0])
  flat = points.reshape(6, -1)
  assert len(np.unique(flat, axis=0)) == 6
  assert (sample(np.int32([5]), 8) != alone).any()
