"""The bare loop of training against the run that keeps records."""

import contextlib
from typing import Any

import jax
import numpy as np
import pytest
from helpers import shapes

from fskd_jax import experiment
from fskd_jax.data.feed import Feed
from fskd_jax.training import loop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(shapes_folder):
  cfg = shapes.config(shapes_folder, steps=4, log_every=2, checkpoint_every=2)
  cfg.train.backend = "single"
  task = experiment.make_task(cfg)
  return task, Feed.open(cfg.data, cfg.train.backend), loop.new_state(task, cfg), cfg


@pytest.mark.slow
def test_the_bare_loop_gives_what_a_run_gives_bit_for_bit(parts, tmp_path):
  task, feed, start, cfg = parts
  expected = jax.device_get(loop.train(task, cfg, tmp_path, "2:3"))
  assert [*tmp_path.glob("profile/plugins/profile/*/*.xplane.pb")]
  seen = {}

  def after_step(step, state, metrics):
    seen[step] = jax.device_get((state, metrics))

  state = jax.device_get(loop.fit(task, feed, start, cfg, after_step=after_step))
  shapes.assert_identical(state, expected)
  assert [*seen] == [1, 2, 3, 4] and int(start.step) == 0
  losses = np.float32([metrics["loss"] for _, metrics in seen.values()])
  lines = [x["train/loss"] for x in shapes.metrics(tmp_path) if "train/loss" in x]
  assert lines == losses.reshape(2, 2).mean(1).tolist()
  # The middle of a training is as good a start as its beginning.
  rest = loop.fit(task, feed, seen[2][0], cfg)
  shapes.assert_identical(jax.device_get(rest), expected)


def test_a_sampler_of_ones_own_is_drawn_from(parts):
  task, feed, start, cfg = parts
  own, drawn = task.sampler(feed), []

  class Recording:
    def __getattr__(self, name):
      return getattr(own, name)

    def plan(self, index):
      drawn.append(index)
      return own.plan(index)

  expected = jax.device_get(loop.fit(task, feed, start, cfg))
  sampler: Any = Recording()
  found = loop.fit(task, feed, start, cfg, sampler=sampler)
  shapes.assert_identical(jax.device_get(found), expected)
  count = cfg.train.steps * cfg.train.episodes_per_step
  assert {*range(count)} <= {*drawn}


def test_nothing_but_the_batch_moves_between_host_and_device(parts, monkeypatch):
  task, feed, start, cfg = parts
  batches = Feed.batches

  def put(*args):
    with batches(*args) as stream:
      yield from map(jax.device_put, stream)  # explicit, which the guard lets pass

  monkeypatch.setattr(Feed, "batches", lambda *args: contextlib.closing(put(*args)))
  with contextlib.ExitStack() as guarded:

    def after_step(step, state, metrics):
      if step == 1:  # the step is compiled, with the constants in it
        guarded.enter_context(jax.transfer_guard("disallow"))

    state = loop.fit(task, feed, start, cfg, after_step=after_step)
  assert int(state.step) == cfg.train.steps
