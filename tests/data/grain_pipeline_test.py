"""The stream of Grain: that of tf.data, made by processes, from any step on."""

import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import shapes
from helpers.libraries import needs_tensorflow
from helpers.paths import ROOT

from fskd_jax.data import plans
from fskd_jax.data.feed import Feed
from fskd_jax.data.grain_pipeline import episode_batches
from fskd_jax.few_shot.pools import evaluation_sampler, training_sampler

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cfg(shapes_folder):
  return shapes.config(shapes_folder)


@pytest.fixture(scope="module")
def feed(cfg):
  return Feed.open(dataclasses.replace(cfg.data, executor="grain", workers=2))


def _take(feed, indices, size, count, sampler):
  with feed.batches(sampler, indices, size) as stream:
    return list(itertools.islice(stream, count))


@needs_tensorflow
@pytest.mark.parametrize("turned", [0.0, 1.0])
def test_batches_are_those_of_tf_data_bit_for_bit(cfg, feed, turned):
  data = dataclasses.replace(
    cfg.data, rotation_probability=turned, crop="context", executor="tfdata"
  )
  other = Feed.open(data)
  ours = dataclasses.replace(feed, cfg=dataclasses.replace(data, executor="grain"))
  indices = [range(4), [9], [], [3, 8, 5]]
  expected, found = (
    _take(one, indices, 4, 9, training_sampler(one, cfg.train)) for one in (other, ours)
  )
  assert len(found) == 4 and found[0].query.images.std() > 20
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  types = [jax.tree.map(lambda x: x.dtype, one) for one in (found, expected)]
  assert types[0] == types[1]


def test_hosts_read_disjoint_parts_and_any_step_can_be_first(cfg, feed):
  sampler = training_sampler(feed, cfg.train)

  whole = _take(feed, plans.train_index_batches(0, 4, 0, 1), 4, 3, sampler)
  assert multiprocessing.active_children() == []
  # Parts and steps differ in their indices alone, for which threads are enough.
  parts = [
    next(episode_batches(feed.dataset, sampler, [plan], 2))
    for plan in (plans.train_index_batches(2, 4, host, 2)[0] for host in (0, 1))
  ]
  joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  jax.tree.map(np.testing.assert_array_equal, joined, whole[2])
  seen = [set(part.episode_index.tolist()) for part in parts]
  assert seen[0].isdisjoint(seen[1])


def _broken(dataset, number, read):
  def read_image(asked):
    return read() if asked == number else dataset.read_image(asked)

  return dataclasses.replace(dataset, read_image=read_image)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(cfg, feed, workers):
  sampler = evaluation_sampler(feed, "seen/base", cfg.eval)
  number = int(sampler.plan(0).query.images[0])
  broken = _broken(feed.dataset, number, lambda: b"\x89PNG")
  indices = plans.train_index_batches(0, 1, 0, 1) if workers else [[0]]
  name = feed.dataset.image_names[number]
  with pytest.raises(ValueError, match=f"{name}' cannot be decoded"):
    next(episode_batches(broken, sampler, indices, 1, workers))


def test_an_error_of_the_disk_keeps_its_kind(cfg, feed):
  sampler = evaluation_sampler(feed, "seen/base", cfg.eval)

  def fail():
    raise FileNotFoundError("no 7.png")

  missing = _broken(feed.dataset, int(sampler.plan(0).query.images[0]), fail)
  with pytest.raises(FileNotFoundError, match=r"no 7.png"):
    next(episode_batches(missing, sampler, [[0]], 1))


STREAM = """
import multiprocessing, pathlib, sys
from helpers import shapes
from fskd_jax.data import plans
from fskd_jax.data.feed import Feed
from fskd_jax.few_shot.pools import training_sampler
cfg = shapes.config(pathlib.Path(sys.argv[1]))
cfg.data.executor, cfg.data.workers = "grain", 1
feed = Feed.open(cfg.data)
indices = plans.train_index_batches(0, 1, 0, 1)
with feed.batches(training_sampler(feed, cfg.train), indices, 1) as stream:
  next(stream)
  print(*(child.pid for child in multiprocessing.active_children()), flush=True)
  while True:
    next(stream)
"""


def test_workers_outlive_signals_but_not_the_training(shapes_folder):
  paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
  training = subprocess.Popen(
    [sys.executable, "-c", STREAM, shapes_folder],
    stdout=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": paths},
  )
  with training:
    worker = int(training.stdout.readline())
    os.kill(worker, signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
      training.wait(1)  # of whose batches each needs the worker
    training.kill()
  deadline = time.monotonic() + 20
  while pathlib.Path(f"/proc/{worker}").exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
