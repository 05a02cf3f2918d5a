import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_detector

from fskd_jax.device import color

_jitter = jax.jit(color.jitter_batch, static_argnums=(1, 2))
_grey = jax.jit(color.grey_batch, static_argnums=(1, 2))


def test_strength_zero_changes_nothing_and_grey_moves_as_one():
  image = np.float32(np.random.default_rng(0).uniform(0, 255, (4, 4, 3)))
  key = jax.random.key(0)
  np.testing.assert_allclose(color.jitter(key, image, 0.0), image, atol=1e-4)
  grey = color.jitter(key, jnp.full((2, 2, 3), color.GREY), 0.3)
  assert np.ptp(grey) < 1e-4 and abs(float(grey[0, 0, 0]) - color.GREY) < 0.3 * 128


def test_range_is_kept_and_strength_bounds_the_gain():
  images = jnp.tile(jnp.float32([0.0, 120.0, 255.0])[:, None, None, None], (1, 2, 2, 3))
  keys = jax.random.split(jax.random.key(1), 200)
  found = jax.vmap(lambda key: color.jitter(key, images[1], 0.2))(keys)
  assert found.min() >= 128 - 8 * np.exp(0.4) - 0.2 * 128 - 1e-3
  extremes = jax.vmap(lambda key: color.jitter(key, images[2], 0.5))(keys)
  assert extremes.max() == 255.0 and found.std() > 1


@pytest.mark.slow
def test_colours_depend_on_the_episode_not_on_the_batch():
  batch = tiny_detector.episodes(b=4, k=2, m=1)
  whole = _jitter(batch, 3, 0.3)
  part = _jitter(jax.tree.map(lambda x: x[2:3], batch), 3, 0.3)
  np.testing.assert_array_equal(whole.support.images[2:3], part.support.images)
  np.testing.assert_array_equal(whole.query.images[2:3], part.query.images)
  other = _jitter(batch, 4, 0.3)
  assert np.abs(whole.query.images - other.query.images).max() > 5
  same = jnp.full_like(whole.support.images, 100.0)
  views = batch._replace(
    support=batch.support._replace(images=same),
    query=batch.query._replace(images=same[:, :1]),
  )
  found = _jitter(views, 3, 0.3)
  means = np.asarray(
    jnp.concatenate([found.support.images, found.query.images], 1).mean((2, 3))
  )
  assert len(np.unique(means[..., 0].round(3))) == means[..., 0].size  # all differ


@pytest.mark.slow
def test_an_episode_is_grey_in_all_views_or_in_none():
  batch = tiny_detector.episodes(b=64, k=2, m=1)
  found = _grey(batch, 3, 0.5)
  views = [found.support.images, found.query.images]
  images = np.concatenate(views, 1)
  original = np.concatenate([batch.support.images, batch.query.images], 1)
  is_grey = np.ptp(images, axis=-1).max(axis=(2, 3)) < 1e-3
  assert (is_grey.all(1) == is_grey.any(1)).all() and 16 < is_grey[:, 0].sum() < 48
  np.testing.assert_array_equal(images[~is_grey[:, 0]], original[~is_grey[:, 0]])
  luma = original @ np.array([0.299, 0.587, 0.114])
  same = np.isclose(images[..., 0], luma, atol=1e-2).all(axis=(1, 2, 3))
  inverted = np.isclose(images[..., 0], 255 - luma, atol=1e-2).all(axis=(1, 2, 3))
  assert (same | inverted)[is_grey[:, 0]].all() and 6 < inverted.sum() < 26
  part = _grey(jax.tree.map(lambda x: x[2:3], batch), 3, 0.5)
  np.testing.assert_array_equal(part.query.images, found.query.images[2:3])


def test_probability_of_grey():
  batch = tiny_detector.episodes(b=8, k=1, m=1)
  never, always = (_grey(batch, 0, p) for p in (0.0, 1.0))
  np.testing.assert_array_equal(never.query.images, batch.query.images)
  assert np.ptp(always.query.images, axis=-1).max() < 1e-3
