"""What fills empty keypoint slots and empty places of a batch, on drawn examples."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax.config import DataConfig
from fskd_jax.data import keypoint_types, plans
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import PADDING, valid_queries
from fskd_jax.few_shot import pools

NAMES = ("nose", "left eye", "right eye", "tail")
SEEDS, INDICES = st.integers(0, 2**31), st.integers(0, 10**6)


def _sampler(empty: int = 0, seed: int = 0, shots: int = 1):
  rng = np.random.default_rng(0)
  instances = [
    Instance(
      instance_id=i,
      image=i,
      image_size=(200, 160),
      species="ab"[i % 2],
      box=(40, 30, 80, 60),
      keypoints=(rng.random((4, 2)) * [78, 58] + [41, 31]).astype(np.float32),
      visible=np.array([True, True, i % 3 > 0, True]),
    )
    for i in range(24)
  ]
  auxiliary = keypoint_types.AuxiliaryTypes(
    np.array([[0, 3]], np.int32), np.array([0.5], np.float32)
  )
  return pools.make_sampler(
    instances,
    np.arange(4, dtype=np.int32),
    auxiliary=auxiliary,
    shots=shots,
    queries=2,
    num_slots=5 + empty,
    permutation=keypoint_types.flip_permutation(NAMES),
    cfg=DataConfig(image_size=32, min_support_types=1, min_query_types=1),
    seed=seed,
    training=True,
  )


@pytest.mark.slow
@given(st.integers(1, 6), SEEDS, INDICES, st.integers(1, 3))
def test_empty_slots_change_nothing_else(empty, seed, index, shots):
  full, padded = (
    _sampler(n, seed, shots).plan(index) for n in (0, empty)
  )  # the same draws
  assert padded.keypoint_ids[5:].tolist() == [PADDING] * empty
  assert not padded.is_auxiliary[5:].any()
  for views, expected in (
    (padded.support, full.support),
    (padded.query, full.query),
  ):
    assert not views.visible[:, 5:].any()
    assert np.isfinite(views.keypoints).all()
    cut = views._replace(keypoints=views.keypoints[:, :5], visible=views.visible[:, :5])
    jax.tree.map(np.testing.assert_array_equal, cut, expected)


@given(st.lists(INDICES, max_size=3), st.integers(1, 3), SEEDS)
def test_empty_places_of_a_batch_count_nothing(indices, more, seed):
  sampler = _sampler(1, seed)
  size = len(indices) + more
  batch = plans.plan_batch(sampler, indices, size)
  assert batch.episode_index.tolist() == [*indices, *[PADDING] * more]
  assert (batch.keypoint_ids[len(indices) :] == PADDING).all()
  assert not valid_queries(batch)[len(indices) :].any()
  for place, index in enumerate(indices):
    mine = jax.tree.map(lambda field, place=place: field[place], batch)
    jax.tree.map(np.testing.assert_array_equal, mine, sampler.plan(index))


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 4))
def test_hosts_share_the_episodes_of_an_evaluation(num_episodes, part, num_hosts):
  hosts = [
    [
      list(indices)
      for indices in plans.evaluation_index_batches(
        num_episodes, part * num_hosts, host, num_hosts
      )
    ]
    for host in range(num_hosts)
  ]
  assert len({len(batches) for batches in hosts}) == 1  # none waits for another
  flat = sorted(i for batches in hosts for indices in batches for i in indices)
  assert flat == list(range(num_episodes))
  assert all(len(indices) <= part for batches in hosts for indices in batches)
