import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import tiny_detector

from fskd_jax.config import LossConfig, OptimConfig
from fskd_jax.device import parallel
from fskd_jax.device import store as image_store
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.models.detector import init_variables
from fskd_jax.training import optim
from fskd_jax.training import state as train_state

DETECTOR = tiny_detector.detector()
SIZE = (tiny_detector.SIDE, tiny_detector.SIDE)
READ = functools.partial(
  few_shot_step.read_keypoints,
  image_size=tiny_detector.SIDE,
  loss=LossConfig(),
  kind="mode",
)
EVALUATE = functools.partial(few_shot_step.eval_step, detector=DETECTOR, reduce=READ)


@functools.cache
def _training(backend):
  step = functools.partial(
    few_shot_step.train_step,
    detector=DETECTOR,
    tx=optax.sgd(1.0),
    loss=LossConfig(target_sigma=0.2, mfcl_weight=0.1),
    seed=5,
    rotate_support=True,
  )
  return parallel.parallelize_training(step, backend, SIZE)


@functools.cache
def _variables():
  return jax.device_get(init_variables(DETECTOR, seed=3))


def _state(backend):
  return parallel.replicate(
    train_state.init_state(_variables(), optax.sgd(1.0)), backend
  )


@functools.cache
def _trained(backend):
  """Two steps: the second one sees the first one's statistics."""
  step, state = _training(backend), _state(backend)
  state, first = step(state, tiny_detector.episodes(seed=0), None)
  state, second = step(state, tiny_detector.episodes(seed=1), None)
  return jax.device_get((state, first, second))


@pytest.mark.slow
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


def _all_reduces(shape):
  """Returns of every loaded program the all-reduces, if any of them takes `shape`."""
  for program in jax.devices()[0].client.live_executables():
    text = program.hlo_modules()[0].to_string()
    found = re.findall(r" = (.*) all-reduce(?:-start)?\(", text)
    if any(shape in arrays for arrays in found):
      yield found


def test_all_gradients_travel_in_one_all_reduce():
  for backend in ("pmap", "shard_map"):
    _trained(backend)
  programs = list(_all_reduces("f32[4,4,3,6]"))  # of the convolution's kernel
  assert len(programs) >= 2
  for found in programs:
    (gradients,) = (arrays for arrays in found if "f32[4,4,3,6]" in arrays)
    # With the three other parameters, two running statistics and four losses.
    assert gradients.count("f32[6]") == 5 and gradients.count("f32[]") == 4
    assert len(found) == 3  # batch norm, forward (with the counts) and backward


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_frozen_parameters_have_no_gradient_to_exchange(backend):
  layers = {"conv1": jnp.ones(37), "layer1_0": jnp.ones(41)}
  params = jax.device_get({"encoder": layers, "head": jnp.ones(43)})
  rates = (("encoder/conv1", 0.0),)
  tx = optim.make_optimizer(OptimConfig(), 10, rates)

  def step(state, batch, *, axis_name):
    def terms(params, batch_stats, batch, part):
      total = sum(jnp.square(x).sum() for x in jax.tree.leaves(params))
      total *= batch.query.keypoints.sum()
      return {"total": (total, jnp.float32(1))}, batch_stats

    options = dict(tx=tx, rates=rates, axis_name=axis_name)
    return train_state.update(state, batch, terms, {"total": 1.0}, **options)

  state = train_state.init_state({"params": params, "batch_stats": {}}, tx)
  train = parallel.parallelize_training(step, backend, SIZE)
  new, _ = train(parallel.replicate(state, backend), tiny_detector.episodes(), None)
  moved = jax.tree.map(lambda a, b: bool((a != b).all()), new.params, params)
  assert moved == {"encoder": {"conv1": False, "layer1_0": True}, "head": True}
  np.testing.assert_array_equal(new.params["encoder"]["conv1"], 1.0)
  assert list(_all_reduces("f32[41]")) and not list(_all_reduces("f32[37]"))


def test_dropout_differs_by_device_and_step_and_repeats():
  @functools.partial(jax.pmap, axis_name=parallel.AXIS, in_axes=(0, None))
  def keys(_, step):
    return jax.random.key_data(train_state.dropout_key(3, step, parallel.AXIS))

  first, second = (np.asarray(keys(np.zeros(4), step)) for step in (7, 8))
  assert len(np.unique(np.concatenate([first, second]), axis=0)) == 8
  np.testing.assert_array_equal(first, keys(np.zeros(4), 7))


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


@pytest.mark.parametrize("place", [*parallel.BACKENDS, "host"])
@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_the_callers_arrays_outlive_the_step(backend, place):
  """Wherever they lay: a step uses up its state, which must share nothing with them."""
  mine = _variables()
  if place != "host":
    mine = parallel.replicate(mine, place)
  state = parallel.replicate(train_state.init_state(mine, optax.sgd(1.0)), backend)
  new, _ = _training(backend)(state, tiny_detector.episodes(), None)
  jax.block_until_ready(new)
  jax.tree.map(np.testing.assert_array_equal, mine, _variables())
  found = jax.jit(EVALUATE)(mine, tiny_detector.episodes())
  assert np.isfinite(found.keypoints).all()


def _as_numbers(batch):
  """Moves the pixels of a batch into a store."""
  pixels, numbers = [], []
  for views in (batch.support, batch.query):
    count = views.images.shape[0] * views.images.shape[1]
    start = sum(len(p) for p in pixels) // 256
    pixels.append(views.images.reshape(-1, 3))
    numbers.append(
      start + np.arange(count, dtype=np.int32).reshape(views.images.shape[:2])
    )
  pixels = np.concatenate(pixels)
  images = len(pixels) // 256
  sizes = np.zeros((images, image_store.NUM_LEVELS, 2), np.int32)
  sizes[:, 0] = 16
  offsets = np.tile(
    np.arange(images, dtype=np.int32)[:, None] * 256, image_store.NUM_LEVELS
  )
  plan = batch._replace(
    support=batch.support._replace(images=numbers[0]),
    query=batch.query._replace(images=numbers[1]),
  )
  return plan, image_store.ImageStore(pixels, offsets, sizes)


def _evaluated(backend, batch, store=None):
  run = parallel.parallelize_evaluation(EVALUATE, backend, SIZE)
  return run(parallel.replicate(_variables(), backend), batch, store)


@pytest.mark.slow
def test_predictions_come_back_in_order():
  found = {b: _evaluated(b, tiny_detector.episodes()) for b in parallel.BACKENDS}
  assert found["single"].keypoints.shape == (8, 2, 4, 2)
  assert len(np.unique(found["single"].mass.reshape(8, -1), axis=0)) > 4
  for backend in ("pmap", "shard_map"):
    for field, expected in zip(found[backend], found["single"]):
      assert isinstance(field, np.ndarray) and isinstance(expected, np.ndarray)
      np.testing.assert_array_equal(field, expected)


@pytest.mark.slow
@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_pixels_from_a_store_are_pixels_of_the_batch(backend):
  batch = tiny_detector.episodes()
  numbers, store = _as_numbers(batch)
  store = parallel.replicate(store, backend)
  step = _training(backend)
  _, expected = step(_state(backend), batch, None)
  _, from_store = step(_state(backend), numbers, store)
  for name, value in expected.items():
    np.testing.assert_allclose(from_store[name], value, rtol=1e-5)
  for field, known in zip(
    _evaluated(backend, numbers, store), _evaluated(backend, batch)
  ):
    np.testing.assert_allclose(field, known, rtol=1e-5)


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
    parallel.parallelize_evaluation(EVALUATE, "single", SIZE)
