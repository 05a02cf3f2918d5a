"""A data set behind either executor."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import shapes
from helpers.libraries import HOST_EXECUTOR

from fskd_jax.data.feed import Feed
from fskd_jax.episode import PADDING
from fskd_jax.few_shot.pools import evaluation_sampler, training_sampler


@pytest.fixture(scope="module")
def feeds(shapes_folder):
  cfg = shapes.config(shapes_folder).data
  return {
    executor: Feed.open(dataclasses.replace(cfg, executor=executor))
    for executor in ("resident", HOST_EXECUTOR)
  }


@pytest.fixture(scope="module")
def feed(feeds):
  return feeds["resident"]


@pytest.fixture(scope="module")
def evaluation(shapes_folder):
  return shapes.config(shapes_folder).eval


def _first(feed, sampler, episodes):
  with feed.batches(sampler, [range(episodes)], episodes) as batches:
    return next(batches)


def test_images_are_placed_on_every_device_and_only_where_they_are_resident(
  shapes_folder,
):
  cfg = shapes.config(shapes_folder).data
  for backend, devices in (("single", 1), ("pmap", 4), ("shard_map", 4)):
    feed = Feed.open(cfg, backend)
    assert len(feed.store.pixels.sharding.device_set) == devices
    assert feed.store.pixels.is_fully_replicated
  cfg.executor = HOST_EXECUTOR
  assert Feed.open(cfg).store is None


def test_a_data_set_in_memory_is_fed_like_one_on_disk(feed, evaluation):
  again = Feed.of(feed.dataset, feed.cfg)
  ours, theirs = (
    _first(f, evaluation_sampler(f, "unseen/base", evaluation), 3)
    for f in (again, feed)
  )
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
def test_both_executors_give_the_same_episodes_and_pictures(feeds, evaluation):
  found = {}
  for name, feed in feeds.items():
    sampler = evaluation_sampler(feed, "unseen/base", evaluation)
    with feed.batches(sampler, [[0, 1], [2]], 2) as stream:
      batches = list(stream)
    assert [b.episode_index.tolist() for b in batches] == [[0, 1], [2, PADDING]]
    found[name] = batches[0], feed.pixels(batches[0])
  (plan, drawn), (batch, pixels) = found["resident"], found[HOST_EXECUTOR]
  for field in ("keypoints", "visible", "to_original", "box", "instance"):
    np.testing.assert_array_equal(
      getattr(plan.query, field), getattr(batch.query, field)
    )
  for ours, theirs, size in zip(drawn, pixels, (1, 2)):
    assert ours.dtype == theirs.dtype == np.uint8
    assert ours.shape == (2, size, 48, 48, 3)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
  # A keypoint lies where its colour is: [row, column] of the picture is y, x.
  north = plan.query.keypoints[0, 0, 0].round().astype(int)
  assert plan.query.visible[0, 0, 0]
  np.testing.assert_allclose(
    drawn[1][0, 0, north[1], north[0]], shapes.COLORS["north"], atol=25
  )


def test_settings_hold_their_species_and_types(feed, evaluation):
  species, types = {}, {}
  for setting in ("unseen/base", "seen/novel", "validation/base", "seen/other"):
    sampler = evaluation_sampler(feed, setting, evaluation)
    batch = _first(feed, sampler, 8)
    species[setting] = set(feed.species(batch.query.instance).flat)
    types[setting] = feed.type_names(batch.keypoint_ids[0])
    assert not batch.is_auxiliary.any()
  assert species["unseen/base"] == {"pond"} and species["validation/base"] == {"crate"}
  for setting in ("seen/novel", "seen/other"):
    assert species[setting] <= {"plum", "leaf", "rock"}
  # As many slots in every setting, so that one compiled step serves all.
  assert types == {
    "unseen/base": ["north", "east", "middle"],
    "seen/novel": ["south", "", ""],
    "validation/base": ["north", "east", "middle"],
    "seen/other": ["west", "", ""],
  }


def test_training_sees_base_and_auxiliary_types_of_its_own_images(feed, shapes_folder):
  cfg = shapes.config(shapes_folder)
  batch = _first(feed, training_sampler(feed, cfg.train), 30)
  names = ["north", "east", "middle", "north ~ east 0.5"]
  assert feed.type_names(batch.keypoint_ids[0]) == names
  trained = {*batch.support.instance.flat, *batch.query.instance.flat}
  assert trained <= {i.instance_id for i in feed.splits.train}
  seen = evaluation_sampler(feed, "seen/base", cfg.eval)
  tested = _first(feed, seen, 30)
  assert not trained & {*tested.query.instance.flat}


def test_thresholds_shrink_to_short_lists_of_types(feed, evaluation):
  strict = dataclasses.replace(feed.cfg, min_support_types=3, min_query_types=2)
  feed = dataclasses.replace(feed, cfg=strict)
  novel = evaluation_sampler(feed, "seen/novel", evaluation)
  assert (novel.cfg.min_support_types, novel.cfg.min_query_types) == (1, 1)
  base = evaluation_sampler(feed, "seen/base", evaluation)
  assert (base.cfg.min_support_types, base.cfg.min_query_types) == (3, 2)


def test_settings_without_instances_or_types_are_named(feed, evaluation):
  none = feed.splits._replace(unseen=())
  empty = dataclasses.replace(feed, splits=none)
  with pytest.raises(ValueError, match="setting 'unseen/base': 0 instances"):
    evaluation_sampler(empty, "unseen/base", evaluation)
  no_novel = feed.types._replace(novel=np.zeros(0, np.int32))
  empty = dataclasses.replace(feed, types=no_novel)
  with pytest.raises(ValueError, match="setting 'seen/novel': .* 0 novel types"):
    evaluation_sampler(empty, "seen/novel", evaluation)
  many = dataclasses.replace(evaluation, queries=40)
  with pytest.raises(ValueError, match="setting 'seen/base': no species has the 41"):
    evaluation_sampler(feed, "seen/base", many)
