import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax import episode
from fskd_jax.episode import PADDING, EpisodeBatch, Views


def _views(num: int, rng: np.random.Generator, types: int = 4) -> Views:
  return Views(
    images=rng.integers(100, size=num).astype(np.int32),
    keypoints=rng.random((num, types, 2), np.float32),
    visible=rng.random((num, types)) < 0.6,
    to_original=rng.random((num, 2, 3), np.float32),
    box=rng.random((num, 4), np.float32),
    image_size=rng.random((num, 2), np.float32),
    instance=rng.integers(1000, size=num),
  )


def _plan(index: int, shots: int = 2, queries: int = 3) -> EpisodeBatch:
  rng = np.random.default_rng(index)
  return EpisodeBatch(
    support=_views(shots, rng),
    query=_views(queries, rng),
    keypoint_ids=np.array([3, 5, 9, PADDING], np.int32),
    is_auxiliary=np.array([False, False, True, False]),
    episode_index=np.int32(index),
  )


def test_stack_adds_the_episode_axis_to_every_field_in_order():
  plans = [_plan(4), _plan(7)]
  batch = episode.stack(plans)
  for row, plan in enumerate(plans):
    jax.tree.map(
      np.testing.assert_array_equal, jax.tree.map(lambda x, i=row: x[i], batch), plan
    )
  assert batch.episode_index.tolist() == [4, 7]


def test_padding_keeps_shapes_and_types_and_shows_nothing():
  batch = episode.stack([_plan(4)], size=3)
  full = episode.stack([_plan(4)] * 3)
  for field, expected in zip(jax.tree.leaves(batch), jax.tree.leaves(full)):
    assert (field.shape, field.dtype) == (expected.shape, expected.dtype)
  assert batch.episode_index.tolist() == [4, PADDING, PADDING]
  assert (batch.keypoint_ids[1:] == PADDING).all()
  assert not batch.support.visible[1:].any() and not batch.query.visible[1:].any()
  assert not episode.valid_queries(batch)[1:].any()
  assert episode.valid_queries(batch)[0].any()
  np.testing.assert_array_equal(
    batch.query.to_original[1], batch.query.to_original[0]
  )  # a matrix of zeros could not be inverted


@pytest.mark.parametrize("num, size", [(0, None), (0, 2), (3, 2)])
def test_what_cannot_be_stacked_is_refused(num, size):
  with pytest.raises(ValueError, match=f"cannot stack {num} episodes"):
    episode.stack([_plan(i) for i in range(num)], size)


def test_a_query_is_valid_where_any_support_image_shows_the_type():
  batch = episode.stack([_plan(1), _plan(2)])
  valid = episode.valid_queries(batch)
  assert valid.shape == (2, 3, 4)
  for b, m, n in np.ndindex(valid.shape):
    shown = any(batch.support.visible[b, k, n] for k in range(2))
    assert valid[b, m, n] == (shown and batch.query.visible[b, m, n])


def test_all_views_joins_images_of_plans_and_of_batches_support_first():
  plan = _plan(1)
  joined = episode.all_views(plan)
  np.testing.assert_array_equal(
    joined.images, [*plan.support.images, *plan.query.images]
  )
  assert joined.keypoints.shape == (5, 4, 2)
  batch = episode.stack([plan, _plan(2)])
  both = episode.all_views(jax.tree.map(jnp.asarray, batch))
  assert both.visible.shape == (2, 5, 4)
  jax.tree.map(
    np.testing.assert_array_equal, jax.tree.map(lambda x: x[0], both), joined
  )


def test_rotate_support_gives_every_image_every_place_once():
  batch = episode.stack([_plan(1), _plan(2)])
  views = episode.all_views(batch)
  rotated = episode.rotate_support(views, 5)
  assert rotated.keypoints.shape == (10, 5, 4, 2)
  for b, r, t in np.ndindex(2, 5, 5):
    source = (t + r) % 5
    np.testing.assert_array_equal(
      rotated.keypoints[5 * b + r, t], views.keypoints[b, source]
    )
  firsts = rotated.images[:5, 0]
  assert sorted(firsts.tolist()) == sorted(views.images[0].tolist())
