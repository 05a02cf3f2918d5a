import dataclasses
import functools

import jax
import numpy as np
import pytest
from helpers import shapes

from fskd_jax import episode
from fskd_jax.analysis.contrast import features, hardness, prototypes
from fskd_jax.analysis.contrast.features import PooledFeatures
from fskd_jax.config import crop_size
from fskd_jax.data.feed import Feed
from fskd_jax.device import store
from fskd_jax.few_shot.pools import evaluation_sampler, training_sampler
from fskd_jax.models import aggregator
from fskd_jax.models.detector import FewShotDetector


def _feed(cfg):
  return Feed.open(cfg.data)


@pytest.mark.slow
def test_every_visible_keypoint_of_an_instance_is_pooled_once(trained):
  cfg, _, state = trained
  feed = _feed(cfg)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  sampler = evaluation_sampler(feed, "unseen/novel", cfg.eval)
  found = features.at_keypoints(cfg, variables, feed, sampler, 30)
  pairs = list(zip(found.instance.tolist(), found.keypoint.tolist()))
  assert len(set(pairs)) == len(pairs) > 3
  of = {x.instance_id: x for x in feed.dataset.instances}
  for (instance, keypoint), species in zip(pairs, found.species):
    assert of[instance].visible[keypoint] and of[instance].species == species
  assert set(found.keypoint) == set(feed.types.novel)
  expected = _pooled_one_by_one(cfg, variables, feed, sampler.plan(0))
  assert len(expected) >= 3
  for pair, vector in expected.items():
    np.testing.assert_allclose(found.features[pairs.index(pair)], vector, atol=1e-5)


def _pooled_one_by_one(cfg, variables, feed, plan):
  """{(instance, keypoint): features} of one episode: a Gaussian mean of its cells."""
  detector = FewShotDetector(cfg.model, cfg.data.image_size)
  batch = jax.tree.map(lambda x: x[None], plan)
  crop = jax.jit(lambda *given: store.with_pixels(*given, crop_size(cfg.data)))
  batch = crop(batch, feed.store)
  apply = jax.jit(functools.partial(detector.apply, train=False))
  maps = np.asarray(apply(variables, batch).features[0])
  pool = jax.jit(
    functools.partial(
      aggregator.pool_features,
      image_size=cfg.data.image_size,
      sigma=cfg.model.pool_sigma,
    )
  )
  pooled, views = {}, episode.all_views(plan)
  for t, n in np.argwhere(views.visible & (plan.keypoint_ids >= 0)):
    vector = pool(maps[None, [t]], views.keypoints[None, [t]][:, :, [n]])
    found = np.asarray(vector)[0, 0, 0]
    pooled[int(views.instance[t]), int(plan.keypoint_ids[n])] = found
  return pooled


def _prototypes(direction, noise=0.0):
  """Three species, four types along given directions [s n c], five images each."""
  rng = np.random.default_rng(0)
  rows = []
  for s, n in np.ndindex(3, 4):
    for i in range(5):
      vector = direction[s, n] * rng.uniform(1, 9)
      rows.append((vector + noise * rng.normal(size=4), n + 10, f"s{s}", 5 * s + i))
  vectors, keypoint, species, instance = zip(*rows)
  found = PooledFeatures(
    np.array(vectors), np.array(keypoint), np.array(species), np.array(instance)
  )
  return prototypes.study(found, [f"type {i}" for i in range(20)])


def test_types_that_agree_across_species_are_retrieved():
  found = _prototypes(np.broadcast_to(np.eye(4), (3, 4, 4)))
  np.testing.assert_allclose(found.same, 1)
  np.testing.assert_allclose(found.different, 0, atol=1e-12)
  assert found.retrieval == (1.0, 1.0, 1.0)
  assert found.types == ("type 10", "type 11", "type 12", "type 13")


def test_types_that_each_species_shows_elsewhere_are_not():
  turned = np.stack([np.roll(np.eye(4), s, axis=0) for s in range(3)])
  found = _prototypes(turned)
  assert found.retrieval[0] == 0.0
  np.testing.assert_allclose(found.same, 0, atol=1e-12)


def test_one_species_is_refused():
  one = PooledFeatures(np.eye(2), np.arange(2), np.array(["cat"] * 2), np.arange(2))
  with pytest.raises(ValueError, match="across species"):
    prototypes.study(one, ["a", "b"])


def test_anchor_cosines_equal_a_loop_and_leave_out_the_invisible():
  rng = np.random.default_rng(0)
  vectors, visible = rng.normal(size=(2, 3, 4 + 5, 6)), rng.random((2, 3, 4)) < 0.5
  expected = []
  for b, t, n in np.argwhere(visible):
    anchor, others = vectors[b, t, n], vectors[b, t, 4:]
    lengths = np.linalg.norm(anchor) * np.linalg.norm(others, axis=1)
    expected.append(others @ anchor / lengths)
  np.testing.assert_allclose(hardness.anchor_cosines(vectors, visible), expected)


@pytest.mark.slow
def test_hardness_is_measured_under_every_setting(shapes_folder):
  cfg = shapes.config(shapes_folder)
  cfg.eval = dataclasses.replace(cfg.eval, batch_episodes=2)
  feed = _feed(cfg)
  sampler = training_sampler(feed, cfg.train)
  with feed.batches(sampler, [[0, 1]], 2) as stream:
    batch = next(stream)
  drawn = hardness.draw_points(batch, cfg)
  views = episode.all_views(batch)
  for (field, value), points in drawn.items():
    count = value if field == "negatives_per_image" else 10
    assert points.shape == (2, 3, count, 2)
  paper = [drawn[field, value] for field, value in hardness.PAPER.items()]
  np.testing.assert_array_equal(paper[0], paper[1])
  visible = np.asarray(views.visible)
  figure = hardness.draw(
    feed.pixels(batch)[0][0, 0],
    np.asarray(views.keypoints)[0, 0][visible[0, 0]],
    {key: points[0, 0] for key, points in drawn.items()},
    {
      f: {v: {"mean": 0.1, "hardest": 0.2} for v in vs}
      for f, vs in hardness.VALUES.items()
    },
  )
  assert len(figure.axes) == 15
