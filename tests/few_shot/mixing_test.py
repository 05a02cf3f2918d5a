"""Streams of episodes from several sources, in slots that any type may take."""

import collections
import copy
import dataclasses
import logging

import jax
import numpy as np
import pytest
from helpers import mixtures, shapes
from helpers.libraries import HOST_EXECUTOR

from fskd_jax import config
from fskd_jax.data.feed import Feed
from fskd_jax.episode import PADDING, all_views
from fskd_jax.few_shot import evaluation, mixing
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.pools import training_sampler as labelled_sampler


@pytest.fixture(scope="module")
def mixed(shapes_folder):
  cfg = mixtures.config(shapes_folder)
  return cfg, Feed.open(cfg.data)


def _sources(feed, sampler, episodes):
  """Counts the sources of episodes; of self-supervised ones with an asterisk."""
  known = len(feed.dataset.keypoint_names) + len(feed.types.auxiliary.knots)
  found = collections.Counter()
  for index in range(episodes):
    plan = sampler.plan(index)
    (source,) = {name.split("/")[0] for name in feed.species(plan.query.instance)}
    ids = plan.keypoint_ids[plan.keypoint_ids != PADDING]
    is_labelled = {bool(i < known) for i in ids}
    assert len(is_labelled) == 1
    found[source + ("" if is_labelled.pop() else "*")] += 1
  return found


@pytest.mark.slow
def test_sources_come_as_often_as_their_weights_say(mixed):
  cfg, feed = mixed
  config.validate(cfg)
  found = _sources(feed, mixing.training_sampler(feed, cfg.train), 800)
  shares = {"shapes": 1 / 2, "others": 1 / 8, "others*": 1 / 8, "plain*": 1 / 4}
  assert found.keys() == shares.keys()
  for name, share in shares.items():
    deviation = (800 * share * (1 - share)) ** 0.5
    assert abs(found[name] - 800 * share) < 4 * deviation, (name, found)


def test_a_mirror_exchanges_types_as_their_source_says(shapes_folder):
  cfg = mixtures.config(shapes_folder)
  shape, other, _ = cfg.data.mixture
  shape.data.flip_pairs, other.data.flip_pairs = (), (("north", "south"),)
  feed = Feed.open(cfg.data)
  names = feed.dataset.keypoint_names
  partner = {names[i]: names[j] for i, j in enumerate(feed.permutation())}
  changed = {name: other for name, other in partner.items() if name != other}
  assert changed == {
    "others/north": "others/south",
    "others/south": "others/north",
  }


def test_an_episode_is_a_function_of_seed_and_index_alone(mixed):
  cfg, feed = mixed
  first, second = (mixing.training_sampler(feed, cfg.train) for _ in range(2))
  for index in (7, 3, 11):
    second.plan(index + 1)
    jax.tree.map(np.testing.assert_array_equal, first.plan(index), second.plan(index))
  other = mixing.training_sampler(feed, dataclasses.replace(cfg.train, seed=1))
  kinds = [_sources(feed, sampler, 30) for sampler in (first, other)]
  assert kinds[0] != kinds[1]


@pytest.mark.slow
def test_both_executors_give_the_same_episodes_and_pictures(mixed, tmp_path):
  cfg, feed = mixed
  other = copy.deepcopy(cfg)
  other.data.executor, other.data.cache_dir = HOST_EXECUTOR, str(tmp_path)
  batches = []
  for one in (feed, Feed.open(other.data)):
    sampler = mixing.training_sampler(one, cfg.train)
    with one.batches(sampler, [range(12)], 12) as stream:
      batch = next(stream)
    views = batch.query._replace(images=0), batch.support._replace(images=0)
    batches.append(
      (batch._replace(query=views[0], support=views[1]), one.pixels(batch))
    )
  (ours, pixels), (theirs, others) = batches
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  for a, b in zip(pixels, others):
    assert abs(a.astype(int) - b).max() <= 1


def test_types_take_any_slot_with_all_that_belongs_to_them(mixed):
  cfg, feed = mixed
  source = feed.sources["shapes"]
  sampler = labelled_sampler(source.feed, cfg.train).numbered(source.ids)
  used, orders = collections.Counter(), set()
  for index in range(60):
    plan = sampler.plan(index)
    for slots in (mixtures.SLOTS, 20):
      found = mixing.in_slots(plan, slots, np.random.default_rng(index))
      held = found.keypoint_ids != PADDING
      ids = found.keypoint_ids[held].tolist()
      assert len({*ids}) == len(ids) == min(slots, len(sampler.keypoint_ids))
      old, new = all_views(plan), all_views(found)
      for slot in np.flatnonzero(held):
        before = plan.keypoint_ids.tolist().index(found.keypoint_ids[slot])
        for field in ("keypoints", "visible"):
          np.testing.assert_array_equal(
            getattr(new, field)[:, slot], getattr(old, field)[:, before]
          )
        assert found.is_auxiliary[slot] == plan.is_auxiliary[before]
      assert not new.visible[:, ~held].any()
      if slots == mixtures.SLOTS:
        used.update((i, s) for s, i in enumerate(found.keypoint_ids.tolist()))
        # Nothing that two images show stays out for something that they do not.
        seen = old.visible.sum(0)
        chosen = np.isin(plan.keypoint_ids, ids)
        assert (seen[chosen] >= 2).all() or (seen[~chosen] < 2).all()
        orders.add(tuple(ids))
  assert len(orders) > 20
  for type_id in {i for i, _ in used}:
    assert all(used[type_id, slot] for slot in range(mixtures.SLOTS))


def test_slots_serve_one_data_set_as_well(shapes_folder):
  cfg = shapes.config(shapes_folder)
  cfg.data.slots, cfg.data.self_supervised.share = 8, 0.5
  config.validate(cfg)
  feed = Feed.open(cfg.data)
  sampler = mixing.training_sampler(feed, cfg.train)
  known = len(feed.dataset.keypoint_names) + len(feed.types.auxiliary.knots)
  kinds = {
    bool((sampler.plan(index).keypoint_ids >= known).any()) for index in range(9)
  }
  assert kinds == {False, True}


def test_a_source_that_is_held_out_is_never_drawn_and_wholly_evaluated(shapes_folder):
  cfg = mixtures.config(shapes_folder, holdout=("others",))
  config.validate(cfg)
  feed = Feed.open(cfg.data)
  found = _sources(feed, mixing.training_sampler(feed, cfg.train), 60)
  assert {*found} == {"shapes", "plain*"}
  part, setting = feed.part("unseen/novel@others")
  assert len(part.instances(setting.split("/")[0])) == len(part.dataset.instances)
  assert len(part.types_of("novel")) == 5 and not part.splits.train


def test_every_source_is_evaluated_by_itself_with_its_own_types(mixed):
  cfg, feed = mixed
  assert feed.expand(["a/b"]) == ["a/b@shapes", "a/b@others", "a/b@plain"]
  held = feed.held(("unseen/base", "unseen/novel"))
  assert held == ["unseen/base@shapes", "unseen/base@others", "unseen/novel@shapes"]
  samplers = evaluation.setting_samplers(feed, cfg.eval)
  assert len({len(s.keypoint_ids) for s in samplers.values()}) == 1
  for name in held:
    source = name.split("@")[1]
    plan = evaluation_sampler(feed, name, cfg.eval).plan(0)
    names = feed.type_names(plan.keypoint_ids[plan.keypoint_ids != PADDING])
    assert {full.split("/")[0] for full in names} == {source}
    part = feed.sources[source].feed
    kind = name.split("@")[0].split("/")[1]
    own = [part.dataset.keypoint_names[i] for i in part.types_of(kind)]
    assert [full.split("/")[1] for full in names] == own


def test_what_is_missing_is_named_and_left_out(shapes_folder, caplog):
  cfg = mixtures.config(shapes_folder, path=str(shapes_folder.parent))
  (shape, other, _) = cfg.data.mixture
  shape.data.path, other.data.path = shapes_folder.name, "nowhere"
  cfg.data.mixture = (shape, other)
  with pytest.raises(FileNotFoundError, match=r"missing: others \(.*nowhere\)"):
    Feed.open(cfg.data)
  shape.optional = other.optional = True
  with caplog.at_level(logging.WARNING, logger="fskd_jax"):
    assert [*Feed.open(cfg.data).sources] == ["shapes"]
  assert len([r for r in caplog.records if "others" in r.message]) == 1
  other.data.path = f"{shapes_folder.name[:-1]}?"  # a pattern
  assert [*Feed.open(cfg.data).sources] == ["shapes", "others"]
  cfg.data.path = str(shapes_folder / "wrong")
  with pytest.raises(FileNotFoundError, match="shapes .*others .*data.path = .*wrong"):
    Feed.open(cfg.data)


def test_errors_of_a_source_name_it(shapes_folder):
  cfg = mixtures.config(shapes_folder)
  cfg.train.queries = 1000
  feed = Feed.open(cfg.data)
  with pytest.raises(ValueError, match="source 'shapes' of data.mixture: no species"):
    mixing.training_sampler(feed, cfg.train)
  cfg.data.mixture[1].data.base = ("nort",)
  with pytest.raises(ValueError, match="source 'others' of data.mixture: .*'nort'"):
    Feed.open(cfg.data)


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda d: setattr(d, "slots", 0), "data.slots = 0: a mixture needs slots"),
    (lambda d: setattr(d, "holdout", ("x",)), r"no source is called \['x'\]"),
    (
      lambda d: setattr(d, "holdout", ("shapes", "others", "plain")),
      "no source with a weight above 0",
    ),
    (lambda d: setattr(d.mixture[1], "name", "shapes"), "names of sources must differ"),
    (lambda d: setattr(d.mixture[0], "name", "a.b"), "use letters"),
    (lambda d: setattr(d.mixture[0], "weight", -1.0), "mixture.shapes.weight = -1"),
    (
      lambda d: setattr(d.mixture[0].data, "image_size", "9"),
      "mixture.shapes.data.image_size = '9': expected int",
    ),
    (
      lambda d: setattr(d.mixture[0].data, "group_pattern", "("),
      r"mixture.shapes.data.group_pattern = '\(' is no regular expression",
    ),
    (
      lambda d: setattr(d.mixture[0].data, "class_mode", "one_group"),
      "needs data.mixture.shapes.data.group_pattern",
    ),
    (
      lambda d: setattr(d.mixture[2].data.self_supervised, "share", 0.5),
      "plain.data.self_supervised.share = 0.5: must be 1",
    ),
    (
      lambda d: setattr(d.mixture[0], "aliases", (("north", "a"), ("east", "a"))),
      "aliases: a name occurs twice",
    ),
    (
      lambda d: setattr(d.mixture[0].data, "mixture", d.mixture[1:]),
      "no mixture itself",
    ),
  ],
)
def test_a_wrong_mixture_is_refused(shapes_folder, change, message):
  cfg = mixtures.config(shapes_folder)
  change(cfg.data)
  with pytest.raises(ValueError, match=message):
    config.validate(cfg)
