"""The stream of persons, through both executors."""

import dataclasses

import numpy as np
import pytest
from helpers import poses, shapes
from helpers.libraries import HOST_EXECUTOR

from fskd_jax import geometry
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import plan_batch
from fskd_jax.device.store import crop
from fskd_jax.episode import PADDING
from fskd_jax.pose import crops, prediction, sampler


@pytest.fixture(scope="module")
def cfg(shapes_folder):
  return poses.config(shapes_folder)


@pytest.fixture(scope="module")
def feed(cfg):
  return Feed.open(cfg.data)


@pytest.fixture(scope="module")
def training(cfg, feed):
  return prediction.person_sampler(cfg, feed, feed.splits.train, training=True)


def test_every_person_comes_once_in_an_epoch(training):
  num = len(training)
  ids = [int(training.plan(i).query.instance[0]) for i in range(3 * num)]
  epochs = np.reshape(ids, (3, num))
  assert (np.sort(epochs) == np.sort(training.table.instance_id)).all()
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_plan_depends_on_seed_and_index_alone(cfg, feed, training):
  again = prediction.person_sampler(cfg, feed, feed.splits.train, training=True)
  order = np.random.default_rng(0).permutation(40)
  plans = {int(i): again.plan(int(i)) for i in order}
  for index, plan in plans.items():
    shapes.assert_identical(plan, training.plan(index))
  other = dataclasses.replace(training, seed=5)
  same = [
    np.array_equal(plan.query.to_original, other.plan(index).query.to_original)
    for index, plan in plans.items()
  ]
  assert not any(same)


def test_evaluation_shows_the_persons_in_order_and_upright(cfg, feed):
  persons = feed.splits.unseen
  found = prediction.person_sampler(cfg, feed, persons, training=False)
  for index, person in enumerate(persons):
    query = found.plan(index).query
    assert query.instance[0] == person.instance_id
    expected = crops.evaluation_crop(person.box, poses.SIZE)
    np.testing.assert_array_equal(query.to_original[0], expected)


def test_training_leaves_out_who_shows_no_keypoint(cfg, feed):
  persons = list(feed.splits.train)
  hidden = dataclasses.replace(persons[0], visible=np.zeros(5, bool))
  found = prediction.person_sampler(cfg, feed, [hidden, *persons[1:]], training=True)
  assert len(found) == len(persons) - 1
  with pytest.raises(ValueError, match="no person .* 1 instances"):
    prediction.person_sampler(cfg, feed, [hidden], training=True)


def test_short_batches_are_padded(training):
  batch = plan_batch(training, [7], 3)
  assert batch.episode_index.tolist() == [7, PADDING, PADDING]
  assert batch.support.images.shape == (3, 0)
  assert batch.query.visible[0].any() and not batch.query.visible[1:].any()


@pytest.mark.slow
def test_both_executors_show_the_keypoints_where_the_plan_says(cfg, feed):
  other = Feed.open(dataclasses.replace(cfg.data, executor=HOST_EXECUTOR))
  pixels = {}
  for name, source in (("resident", feed), ("tfdata", other)):
    stream = prediction.person_sampler(cfg, source, source.splits.train, training=True)
    with source.batches(stream, [range(16)], 16) as batches:
      batch = next(batches)
    support, pixels[name] = source.pixels(batch)
    assert support.shape == (16, 0, *poses.SIZE, 3)
    assert pixels[name].shape == (16, 1, *poses.SIZE, 3)
  difference = abs(np.float32(pixels["resident"]) - pixels["tfdata"])
  assert difference.max() <= 1 and (difference > 0).mean() < 0.01

  query = batch.query
  wrong = []
  for row, slot in np.argwhere(query.visible[:, 0]):
    x, y = query.keypoints[row, 0, slot].round().astype(int)
    color = shapes.COLORS[cfg.data.base[slot]]
    wrong.append(abs(pixels["resident"][row, 0, y, x] - np.array(color)).max() > 40)
  assert len(wrong) > 30 and np.mean(wrong) < 0.1  # blurred where crops shrink


@pytest.mark.slow
def test_one_crop_is_what_the_executors_make(feed, training):
  plan = plan_batch(training, [3], 1)
  _, expected = feed.pixels(plan)
  (number,) = plan.query.images[0]
  width, height = feed.store.sizes[number, 0]
  start = feed.store.offsets[number, 0]
  image = np.asarray(feed.store.pixels)[start : start + width * height]
  found = crop(
    image.reshape(height, width, 3), plan.query.to_original[0, 0], poses.SIZE
  )
  np.testing.assert_array_equal(found, expected[0, 0])


def test_mirrored_persons_keep_their_types(cfg, feed):
  data = dataclasses.replace(
    cfg.data, flip_probability=1.0, flip_pairs=(("east", "south"),)
  )
  mirrored = dataclasses.replace(
    prediction.person_sampler(
      cfg, dataclasses.replace(feed, cfg=data), feed.splits.train, training=True
    ),
    cfg=data,
  )
  persons = {person.instance_id: person for person in feed.splits.train}
  for index in range(10):
    query = mirrored.plan(index).query
    assert np.linalg.det(query.to_original[0, :, :2]) < 0
    points = geometry.apply_affine(query.to_original[0], query.keypoints[0])
    expected = persons[int(query.instance[0])].keypoints[[0, 2, 1, 4]]
    shown = query.visible[0]
    np.testing.assert_allclose(points[shown], expected[shown], atol=1e-3)


def test_flip_partners_are_channels():
  names = ("nose", "left eye", "right eye", "tail")
  swap = np.int32([0, 2, 1, 3])
  found = sampler.flip_partners(np.int32([2, 3, 1]), swap, names)
  assert found.tolist() == [2, 1, 0]
  with pytest.raises(ValueError, match=r"lacks \['right eye'\]"):
    sampler.flip_partners(np.int32([0, 1]), swap, names)
