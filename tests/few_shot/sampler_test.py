import collections
import dataclasses
import itertools

import jax
import numpy as np
import pytest

from fskd_jax import episode, geometry
from fskd_jax.config import DataConfig
from fskd_jax.data import keypoint_types, plans
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import PADDING
from fskd_jax.few_shot import pools
from fskd_jax.few_shot.sampler import EpisodeSampler

NAMES = ("nose", "left eye", "right eye", "left ear", "right ear", "tail", "back")
TYPES = np.array([0, 1, 2, 3, 4], np.int32)
AUXILIARY = keypoint_types.AuxiliaryTypes(
  np.array([[0, 1], [3, 0]], np.int32), np.array([0.5, 0.25], np.float32)
)


def _instances(
  num: int = 120, visible: float = 0.6, species: str = "abbccc", per_image: int = 2
) -> list[Instance]:
  rng = np.random.default_rng(0)
  return [
    Instance(
      instance_id=i,
      image=i // per_image,
      image_size=(200, 160),
      species=species[i % len(species)],
      box=(40, 30, 80, 60),
      keypoints=(rng.random((7, 2)) * [78, 58] + [41, 31]).astype(np.float32),
      visible=rng.random(7) < visible,
    )
    for i in range(num)
  ]


def _sampler(instances=None, cfg=None, **changes) -> EpisodeSampler:
  arguments = {
    "types": TYPES,
    "auxiliary": AUXILIARY,
    "shots": 2,
    "queries": 4,
    "num_slots": 9,
    "permutation": keypoint_types.flip_permutation(NAMES),
    "cfg": cfg or DataConfig(image_size=32),
    "seed": 5,
    "training": True,
  }
  return pools.make_sampler(instances or _instances(), **(arguments | changes))


def _assert_equal(a, b) -> None:
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_plan_has_the_shapes_and_types_of_the_contract():
  plan = _sampler().plan(3)
  for views, t in ((plan.support, 2), (plan.query, 4)):
    for field, shape, dtype in (
      ("images", (t,), np.int32),
      ("keypoints", (t, 9, 2), np.float32),
      ("visible", (t, 9), bool),
      ("to_original", (t, 2, 3), np.float32),
      ("box", (t, 4), np.float32),
      ("image_size", (t, 2), np.float32),
      ("instance", (t,), np.int64),
    ):
      array = getattr(views, field)
      assert (array.shape, array.dtype) == (shape, dtype), field
  assert plan.keypoint_ids.tolist() == [0, 1, 2, 3, 4, 7, 8, PADDING, PADDING]
  assert plan.keypoint_ids.dtype == plan.episode_index.dtype == np.int32
  assert np.flatnonzero(plan.is_auxiliary).tolist() == [5, 6]
  assert plan.episode_index == 3


def test_a_plan_depends_on_the_seed_and_the_index_only():
  sampler, other = _sampler(), _sampler()
  sampler.plan(99)
  _assert_equal(sampler.plan(7), other.plan(7))
  assert (sampler.plan(7).query.images != sampler.plan(8).query.images).any()
  assert (sampler.plan(7).query.images != _sampler(seed=6).plan(7).query.images).any()


def test_the_images_of_an_episode_differ_and_are_of_one_species():
  instances = _instances(per_image=3)
  # Images with three animals: a plan that drew instances would repeat images.
  for index in range(150):
    views = episode.all_views(_sampler(instances).plan(index))
    assert len(set(views.images.tolist())) == 6
  sampler = _sampler()
  species = {i.image: [] for i in _instances()}
  for instance in _instances():
    species[instance.image].append(instance.species)
  for index in range(50):
    images = episode.all_views(sampler.plan(index)).images.tolist()
    assert set.intersection(*(set(species[image]) for image in images))


def test_mix_class_draws_from_all_species():
  instances = _instances(per_image=1)
  sampler = _sampler(instances, DataConfig(image_size=32, class_mode="mix_class"))
  mixed = [
    len({instances[i].species for i in episode.all_views(sampler.plan(index)).images})
    for index in range(50)
  ]
  assert np.mean(mixed) > 2


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["uniform", "count"])
def test_species_are_drawn_uniformly_or_by_count(weighting):
  instances = _instances(visible=1.0, per_image=1)
  cfg = DataConfig(image_size=32, class_weighting=weighting)
  sampler = _sampler(instances, cfg)
  drawn = collections.Counter(
    instances[sampler.plan(i).query.images[0]].species for i in range(1500)
  )
  expected = {"uniform": (1 / 3, 1 / 3, 1 / 3), "count": (1 / 6, 2 / 6, 3 / 6)}
  found = np.array([drawn[name] / 1500 for name in "abc"])
  np.testing.assert_allclose(found, expected[weighting], atol=0.05)


def test_the_count_of_a_species_is_that_of_all_its_annotations():
  """As the original: images without a keypoint of the episode count, too."""
  instances = _instances(visible=1.0, per_image=1, species="abbb")
  blind = np.array([False] * 5 + [True] * 2)  # shows other types only
  for number in range(1, 120, 4):  # a third of b
    instances[number] = dataclasses.replace(instances[number], visible=blind)
  cfg = DataConfig(image_size=32, class_weighting="count")
  sampler = _sampler(instances, cfg)
  drawn = [instances[sampler.plan(i).query.images[0]].species for i in range(1500)]
  # 30 of 120, where a part of the usable images would be 30 of 90.
  assert drawn.count("a") / 1500 == pytest.approx(1 / 4, abs=0.04)


@pytest.mark.slow
def test_instances_of_a_pool_are_drawn_equally_often_in_every_place():
  instances = _instances(10, visible=1.0, species="a", per_image=1)
  sampler = _sampler(instances)
  drawn = np.array([episode.all_views(sampler.plan(i)).images for i in range(2000)])
  for place in (0, 5):
    frequency = np.bincount(drawn[:, place], minlength=10) / 2000
    np.testing.assert_allclose(frequency, 0.1, atol=0.035)


@pytest.mark.parametrize("training", [True, False])
def test_accepted_episodes_meet_the_thresholds_after_cropping(training):
  cfg = DataConfig(
    image_size=32, min_support_types=4, min_query_types=3, min_query_fraction=0.5,
    shift=0.3, crop="box", crop_margin=0.9,
  )  # fmt: skip
  sampler = _sampler(_instances(300), cfg, training=training)
  cropped = 0
  for index in range(60):
    plan = sampler.plan(index)
    support = plan.support.visible[:, :5].any(axis=0)
    assert support.sum() >= 4
    valid = episode.valid_queries(plan)[:, :5]
    assert ((valid.sum(axis=1) >= 3).sum()) >= 2
    cropped += not episode.all_views(plan).visible[:, :5].all()
  assert cropped


def test_unusable_instances_are_never_drawn():
  instances = _instances(60, visible=1.0, species="a", per_image=1)
  blind = np.array([False] * 5 + [True] * 2)  # shows other types only
  instances[::2] = [
    Instance(**{name: getattr(i, name) for name in i.__slots__} | {"visible": blind})
    for i in instances[::2]
  ]
  sampler = _sampler(instances)
  for index in range(30):
    assert (episode.all_views(sampler.plan(index)).images % 2 == 1).all()


def test_evaluation_plans_lead_back_to_the_annotation_and_auxiliary_points_between():
  instances = _instances(per_image=1)
  sampler = _sampler(instances, training=False)
  for index in range(10):
    views = episode.all_views(sampler.plan(index))
    original = geometry.apply_affine(views.to_original, views.keypoints)
    for t, number in enumerate(views.images):
      instance = instances[number]
      shown = views.visible[t, :5]
      np.testing.assert_array_equal(shown, instance.visible[:5])
      np.testing.assert_allclose(
        original[t, :5][shown], instance.keypoints[:5][shown], atol=1e-3
      )
      assert views.box[t].tolist() == list(instance.box)
      assert views.image_size[t].tolist() == [200, 160]
      assert views.instance[t] == instance.instance_id
      for slot, (start, end), knot in ((5, (0, 1), 0.5), (6, (3, 0), 0.25)):
        both = instance.visible[start] and instance.visible[end]
        assert views.visible[t, slot] == both
        a, b = instance.keypoints[[start, end]]
        if both:
          np.testing.assert_allclose(
            original[t, slot], (1 - knot) * a + knot * b, atol=1e-3
          )
    assert not views.visible[:, 7:].any()
    assert np.isfinite(views.keypoints).all()


def test_training_plans_lead_back_to_the_annotation_with_left_and_right_swapped():
  instances = _instances(per_image=1, visible=1.0)
  cfg = DataConfig(image_size=32, rotation_probability=1.0, shift=0.1)
  sampler, swap = _sampler(instances, cfg), keypoint_types.flip_permutation(NAMES)
  mirrors = set()
  for index in range(10):
    views = episode.all_views(sampler.plan(index))
    original = geometry.apply_affine(views.to_original, views.keypoints)
    for t, number in enumerate(views.images):
      mirrored = bool(np.linalg.det(views.to_original[t, :, :2]) < 0)
      source = instances[number].keypoints[swap if mirrored else np.arange(7)]
      shown = views.visible[t, :5]
      np.testing.assert_allclose(original[t, :5][shown], source[:5][shown], atol=1e-3)
      mirrors.add(mirrored)
  assert mirrors == {True, False}


def test_without_auxiliary_types_the_slots_are_padding():
  plan = _sampler(auxiliary=None).plan(0)
  assert plan.keypoint_ids.tolist() == [0, 1, 2, 3, 4, -1, -1, -1, -1]
  assert not plan.is_auxiliary.any()


def test_short_and_empty_index_lists_are_padded():
  sampler = _sampler()
  batch = plans.plan_batch(sampler, [4, 9], 3)
  assert batch.episode_index.tolist() == [4, 9, PADDING]
  _assert_equal(jax.tree.map(lambda x: x[1], batch), sampler.plan(9))
  empty = plans.plan_batch(sampler, [], 3)
  assert empty.episode_index.tolist() == [PADDING] * 3
  assert not empty.query.visible.any()
  assert empty.query.keypoints.shape == batch.query.keypoints.shape


@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_the_hosts_together_train_on_every_episode_once_in_order(num_hosts):
  streams = [
    itertools.islice(plans.train_index_batches(3, 8, host, num_hosts), 2)
    for host in range(num_hosts)
  ]
  steps = [[i for part in parts for i in part] for parts in zip(*streams)]
  assert steps == [list(range(24, 32)), list(range(32, 40))]


@pytest.mark.parametrize("num_episodes", [8, 9, 12, 15])
@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_the_hosts_together_evaluate_every_episode_once(num_episodes, num_hosts):
  hosts = [
    list(plans.evaluation_index_batches(num_episodes, 8, host, num_hosts))
    for host in range(num_hosts)
  ]
  assert {len(batches) for batches in hosts} == {-(-num_episodes // 8)}
  assert max(len(batch) for batches in hosts for batch in batches) <= 8 // num_hosts
  together = [i for batches in hosts for batch in batches for i in batch]
  assert sorted(together) == list(range(num_episodes))


def test_episodes_that_do_not_divide_among_hosts_are_refused():
  with pytest.raises(ValueError, match="3 episodes do not divide among 2 hosts"):
    plans.train_index_batches(0, 3, 0, 2)
  with pytest.raises(ValueError, match="0 episodes"):
    plans.evaluation_index_batches(5, 0, 0, 1)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"types": TYPES[:2], "auxiliary": None}, "2 keypoint types.*types=3"),
    ({"num_slots": 6}, "6 keypoint slots do not hold 5 types and 2"),
    ({"queries": 60}, r"62 different images .* c 60 \(60 instances\), b 40"),
  ],
)
def test_what_no_episode_can_meet_is_refused_at_once(changes, message):
  with pytest.raises(ValueError, match=message):
    _sampler(_instances(per_image=1), **changes)


def test_an_episode_that_is_never_accepted_names_the_threshold():
  instances = _instances(species="a", per_image=1)
  two = np.array([True, True] + [False] * 5)
  instances = [
    Instance(**{name: getattr(i, name) for name in i.__slots__} | {"visible": two})
    for i in instances
  ]
  with pytest.raises(ValueError, match=r"episode 4.*1000 by min_support_types=3"):
    _sampler(instances).plan(4)
  cfg = DataConfig(image_size=32, min_support_types=2)
  with pytest.raises(ValueError, match="1000 by min_query_types=3 in"):
    _sampler(instances, cfg).plan(4)
