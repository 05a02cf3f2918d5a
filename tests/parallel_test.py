import functools

import jax
import numpy as np
import optax
import pytest
import tiny_detector

from fskd_jax import parallel, steps
from fskd_jax.config import LossConfig
from fskd_jax.models.detector import init_variables

DETECTOR = tiny_detector.detector()


@functools.cache
def _training(backend):
  step = functools.partial(
    steps.train_step,
    detector=DETECTOR,
    tx=optax.sgd(1.0),
    loss=LossConfig(target_sigma=0.2, mfcl_weight=0.1),
    seed=5,
    rotate_support=True,
  )
  return parallel.parallelize_training(step, backend)


@functools.cache
def _variables():
  return jax.device_get(init_variables(DETECTOR, seed=3))


def _state(backend):
  return parallel.replicate(steps.init_state(_variables(), optax.sgd(1.0)), backend)


@functools.cache
def _trained(backend):
  """Two steps: the second one sees the first one's statistics."""
  step, state = _training(backend), _state(backend)
  state, first = step(state, tiny_detector.episodes(seed=0), None)
  state, second = step(state, tiny_detector.episodes(seed=1), None)
  return jax.device_get((state, first, second))


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_backends_give_the_gradients_of_a_single_device(backend):
  # SGD with rate 1: what is compared are gradients. Types differ between the devices'
  # episodes, so that a single device finds no further pairs for MFCL.
  expected, first, _ = _trained("single")
  assert first["gradient_norm"] > 0.01 and first["loss_mfcl"] > 0.1
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5),
    _trained(backend),
    _trained("single"),
  )
  assert np.abs(expected.batch_stats["norm"]["mean"]).max() > 0.01


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_one_valid_keypoint_counts_once_on_four_devices(backend):
  batch = tiny_detector.episodes()
  visible = np.zeros_like(batch.query.visible)
  visible[5, 0, 1] = batch.support.visible[5, :, 1] = True
  batch = batch._replace(query=batch.query._replace(visible=visible))
  run = lambda b: _training(b)(_state(b), batch, None)[1]
  expected, found = run("single"), run(backend)
  assert expected["loss"] > 1e-3
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, atol=1e-5)


@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_the_state_keeps_its_shape_and_place(backend):
  step = _training(backend)
  state = _state(backend)
  shapes = jax.tree.map(np.shape, state)
  devices = {len(x.sharding.device_set) for x in jax.tree.leaves(state)}
  assert devices == {1 if backend == "single" else 4}
  with jax.transfer_guard_device_to_device("disallow"):
    new, _ = step(state, tiny_detector.episodes(), None)
  assert jax.tree.map(np.shape, new) == shapes
  assert {len(x.sharding.device_set) for x in jax.tree.leaves(new)} == devices
  assert all(x.is_deleted() for x in jax.tree.leaves(state.params))  # donated


def test_predictions_come_back_in_order():
  batch = tiny_detector.episodes()
  step = functools.partial(steps.eval_step, detector=DETECTOR)
  found = {
    backend: parallel.parallelize_evaluation(step, backend)(
      parallel.replicate(_variables(), backend), batch, None
    )
    for backend in parallel.BACKENDS
  }
  assert found["single"].shape == (8, 2, 4, 2)
  assert len(np.unique(found["single"].reshape(8, -1), axis=0)) > 4
  for backend in ("pmap", "shard_map"):
    assert isinstance(found[backend], np.ndarray)
    np.testing.assert_array_equal(found[backend], found["single"])


def test_wrong_backends_and_sizes_are_named(monkeypatch):
  assert [parallel.divisible_batch(n) for n in (1, 4, 5)] == [4, 4, 8]
  assert parallel.is_main_process()
  with pytest.raises(ValueError, match="'tpu'"):
    parallel.replicate({}, "tpu")
  for backend in ("pmap", "shard_map"):
    with pytest.raises(ValueError, match="6 episodes do not divide among 4 devices"):
      _training(backend)(_state(backend), tiny_detector.episodes(b=6), None)
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  with pytest.raises(ValueError, match="'single' runs in one process"):
    parallel.parallelize_evaluation(steps.eval_step, "single")
