"""Baselines that are run once: what is kept is found again, and nothing else is."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest

from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.device.store import ImageStore
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot import evaluation
from fskd_jax.few_shot.remembered import FILE, Remembered
from fskd_jax.training.checkpoint import CheckpointStore

WEIGHTS = {"params": np.arange(3, dtype=np.float32)}


def _feed(grey=0):
  store = ImageStore(np.full((4, 3), grey, np.uint8), np.zeros((1, 1)), np.ones(2))
  others: Any = dict.fromkeys(("cfg", "dataset", "splits", "types"))
  return Feed(store=store, **others)


def _batch(index):
  views = Views(*[None] * len(Views._fields))
  query = views._replace(keypoints=np.zeros((1, 2, 3, 2), np.float32))
  return EpisodeBatch(views, query, None, None, np.array([index], np.int32))


@pytest.fixture
def baseline(tmp_path):
  """Makes a baseline, and the list of the episodes that it ran."""

  def make(cfg=None, feed=None, variables=WEIGHTS):
    ran = []

    def predict(batch):
      ran.append(int(np.ravel(batch.episode_index)[0]))
      return np.full(batch.query.keypoints.shape, ran[-1] / 3, np.float32)

    return Remembered(
      tmp_path / FILE, predict, cfg or Config(), feed or _feed(), variables
    ), ran

  return make


def test_what_was_kept_is_found_to_the_last_bit(baseline):
  first, ran = baseline()
  found = [first(_batch(i)) for i in (1, 2)]
  first.keep()
  second, ran_again = baseline()
  for i, expected in zip((1, 2), found):
    np.testing.assert_array_equal(second(_batch(i)), expected, strict=True)
  assert (len(ran), ran_again) == (2, [])
  second(_batch(5))
  assert len(ran_again) == 1


@pytest.mark.parametrize(
  "change",
  [
    {"cfg": dataclasses.replace(Config(), name="another")},
    {"feed": _feed(grey=1)},
    {"variables": {"params": np.array([0, 1, 3], np.float32)}},
  ],
)
def test_another_detector_or_other_pixels_are_run(baseline, change):
  first, _ = baseline()
  first(_batch(1))
  first.keep()
  other, ran = baseline(**change)
  other(_batch(1))
  assert len(ran) == 1


@pytest.mark.parametrize("damage", ["cut", "text", "array"])
def test_a_damaged_file_is_made_again(baseline, tmp_path, damage):
  first, _ = baseline()
  expected = first(_batch(1))
  first.keep()
  whole = (tmp_path / FILE).read_bytes()
  if damage == "cut":
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
  elif damage == "text":
    (tmp_path / FILE).write_text("something else")
  else:
    with (tmp_path / FILE).open("wb") as file:
      np.save(file, np.zeros(3))
  again, ran = baseline()
  np.testing.assert_array_equal(again(_batch(1)), expected)
  assert len(ran) == 1
  again.keep()
  assert (tmp_path / FILE).read_bytes() == whole


@pytest.mark.slow
def test_the_second_evaluation_of_a_run_runs_the_detector_alone(
  trained, tmp_path, monkeypatch
):
  cfg = copy.deepcopy(trained[0])
  cfg.eval = dataclasses.replace(
    cfg.eval,
    settings=("unseen/base",),
    episodes=3,
    search_episodes=0,
    decoding="argmax",
  )
  saved = CheckpointStore(trained[1]).restore_model()
  first = evaluation.evaluate(cfg, saved.variables, saved.step, tmp_path)
  make = evaluation.reader_of

  def only_the_detector(cfg, feed, variables, prior=None):
    read = make(cfg, feed, variables, prior=prior)

    def run(batch):
      assert cfg.model.kernel_generator != "prototype"
      return read(batch)

    return run

  monkeypatch.setattr(evaluation, "reader_of", only_the_detector)
  assert evaluation.evaluate(cfg, saved.variables, saved.step, tmp_path) == first
