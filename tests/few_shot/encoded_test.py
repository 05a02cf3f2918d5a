"""Crops that are encoded once: the same keypoints, and no crop twice."""

import copy

import jax
import numpy as np
import pytest

from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot import encoded
from fskd_jax.few_shot.encoded import EncodedCrops
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import keypoint_reader, reader_of
from fskd_jax.training.checkpoint import CheckpointStore

EPISODES, SIZE = 12, 4


@pytest.fixture(scope="module", params=["resident", "grain"])
def met(request, trained):
  """Configuration, feed, variables and the batches of some episodes."""
  cfg, workdir = copy.deepcopy(trained[0]), trained[1]
  cfg.data.executor = request.param
  feed = Feed.open(cfg.data)
  variables = CheckpointStore(workdir).restore_model().variables
  sampler = evaluation_sampler(feed, "unseen/base", cfg.eval)
  rows = [range(i, i + SIZE) for i in range(0, EPISODES, SIZE)]
  with feed.batches(sampler, rows, SIZE) as batches:
    return cfg, feed, parallel.replicate(variables, "single"), list(batches)


def _distinct(batches):
  return {
    (number, matrix.tobytes())
    for batch in batches
    for views in (batch.support, batch.query)
    for number, matrix in zip(
      np.ravel(views.instance), views.to_original.reshape(-1, 2, 3)
    )
  }


def _counted(crops, monkeypatch):
  """Returns the list of the crops that are encoded from now on."""
  seen, run = [], crops._run

  def counting(variables, batch, store):
    matrices = batch.query.to_original[:, 0]
    seen.extend(zip(batch.query.instance[:, 0], map(np.ndarray.tobytes, matrices)))
    return run(variables, batch, store)

  monkeypatch.setattr(crops, "_run", counting)
  return seen


def test_keypoints_are_those_of_crops_encoded_every_time(met):
  cfg, feed, variables, batches = met
  read, again = reader_of(cfg, feed, variables), keypoint_reader(cfg, feed)
  for batch in batches:
    found, expected = read(batch), again(variables, batch)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
      np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_every_crop_is_encoded_once(met, monkeypatch):
  cfg, feed, variables, batches = met
  crops = EncodedCrops(cfg, feed, variables)
  seen = _counted(crops, monkeypatch)
  for batch in batches:
    crops.put_into(batch)
  expected = _distinct(batches)
  assert {*seen} == expected
  rows = sum(
    batch.query.instance.size + batch.support.instance.size for batch in batches
  )
  assert len(expected) < rows  # objects come back
  del seen[:]
  for batch in batches:
    crops.put_into(batch)
  assert not seen


def test_another_crop_of_an_object_is_another_crop(met):
  cfg, feed, variables, batches = met
  if feed.store is None:
    pytest.skip("the pixels of this executor are cut already")
  crops, batch = EncodedCrops(cfg, feed, variables), batches[0]
  moved = batch.query.to_original + np.float32([[0, 0, 9], [0, 0, 9]])
  other = batch._replace(query=batch.query._replace(to_original=moved))
  (maps, *_), (elsewhere, *_) = (crops.put_into(x).query.images for x in (batch, other))
  assert np.abs(maps - elsewhere).max() > 0.01 * np.abs(maps).max()


def test_little_memory_changes_nothing_but_the_work(met, monkeypatch):
  cfg, feed, variables, batches = met
  expected = [EncodedCrops(cfg, feed, variables).put_into(x) for x in batches]
  monkeypatch.setattr(encoded, "MOST_BYTES", 1)
  crops = EncodedCrops(cfg, feed, variables)
  for batch, known in zip(batches, expected):
    for one, other in zip(crops.put_into(batch).query.images, known.query.images):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
  assert not crops._maps


def test_several_processes_and_accelerators_get_images(met, monkeypatch):
  cfg, feed, variables, batches = met
  with monkeypatch.context() as patch:
    patch.setattr(jax, "process_count", lambda: 2)
    assert EncodedCrops(cfg, feed, variables, "pmap").put_into(batches[0]) is batches[0]
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert EncodedCrops(cfg, feed, variables).put_into(batches[0]) is batches[0]
