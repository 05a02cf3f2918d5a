"""One step of TransPose: its loss, its flip test, its dropout."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax import episode
from fskd_jax.config import LossConfig, ModelConfig, PoseConfig, TransformerConfig
from fskd_jax.device import color, parallel
from fskd_jax.models.transpose import TransPose
from fskd_jax.pose import step
from fskd_jax.training import state as train_state

SIZE = (32, 16)
CELLS = (8, 4)
PARTNERS = np.int32([0, 2, 1])
MODEL = TransPose(
  ModelConfig(
    encoder="small",
    strides=(8,),
    small_widths=(8, 8, 8),
    transformer=TransformerConfig(layers=1, width=8, hidden=8, heads=2, dropout=0.3),
    freeze_until="",
  ),
  SIZE,
  3,
)


def _batch(seed=0, persons=4):
  rng = np.random.default_rng(seed)
  query = episode.Views(
    images=rng.integers(0, 255, (persons, 1, *SIZE, 3), np.uint8),
    keypoints=rng.uniform(0, (15, 31), (persons, 1, 3, 2)).astype(np.float32),
    visible=rng.random((persons, 1, 3)) < 0.7,
    to_original=np.zeros((persons, 1, 2, 3), np.float32),
    box=np.ones((persons, 1, 4), np.float32),
    image_size=np.ones((persons, 1, 2), np.float32),
    instance=np.zeros((persons, 1), np.int64),
  )
  return episode.EpisodeBatch(
    support=episode.Views(*(field[:, :0] for field in query)),
    query=query,
    keypoint_ids=np.tile(np.arange(3, dtype=np.int32), (persons, 1)),
    is_auxiliary=np.zeros((persons, 3), bool),
    episode_index=np.arange(persons, dtype=np.int32),
  )


@functools.cache
def _variables():
  return seeded_variables(MODEL.init, jnp.zeros((1, *SIZE, 3)), train=False)


def _maps(seed=1, persons=4):
  return np.random.default_rng(seed).normal(size=(persons, 3, *CELLS)).astype("f")


def field_loss(predicted, target, weight):
  """The field's: half the mean over everything; weights 0 or 1 per keypoint."""
  total = 0.0
  for joint in range(predicted.shape[1]):
    errors = weight[:, joint, None] * (predicted[:, joint] - target[:, joint])
    total += 0.5 * np.mean(errors**2)
  return total / predicted.shape[1]


def test_the_reference_has_the_measured_value():
  rng = np.random.default_rng(11)
  p, t = (rng.standard_normal((2, 17, 64, 48)).astype("f") for _ in range(2))
  w = rng.random((2, 17, 1)) > 0.3
  np.testing.assert_allclose(field_loss(p, t, w), 0.79244006, rtol=1e-6)


def test_the_squared_error_is_the_fields():
  batch, maps = _batch(), _maps()
  rows, columns = np.mgrid[: CELLS[0], : CELLS[1]]
  x, y = np.moveaxis(batch.query.keypoints[:, 0], -1, 0)[..., None, None]
  squares = (columns * 4 + 1.5 - x) ** 2 + (rows * 4 + 1.5 - y) ** 2
  target, weight = np.exp(-squares / (2 * 6.0**2)), batch.query.visible[:, 0, :, None]
  total, count = step.heatmap_loss(maps, batch, sigma=6.0, kind="mse")
  np.testing.assert_allclose(total / count, field_loss(maps, target, weight), 1e-5)
  assert count == 4 * 3  # who is not seen counts, too
  swapped = batch._replace(
    query=batch.query._replace(keypoints=batch.query.keypoints[..., ::-1])
  )
  other, _ = step.heatmap_loss(maps, swapped, sigma=6.0, kind="mse")
  assert abs(float(other - total)) > 1e-2


@pytest.mark.parametrize("kind", ["mse", "cross_entropy"])
def test_hidden_keypoints_and_padding_change_nothing(kind):
  batch, maps = _batch(), _maps()
  expected = step.heatmap_loss(maps, batch, sigma=6.0, kind=kind)
  hidden = ~batch.query.visible[:, 0]
  garbage = np.where(hidden[..., None, None], np.float32(np.nan), maps)
  single = jax.tree.map(lambda x: x[-1], batch)
  padding = jax.tree.map(lambda x: x[None], episode.blank(single))
  padded = jax.tree.map(lambda *x: np.concatenate(x), batch, padding)
  garbage = np.concatenate([garbage, np.full((1, *maps.shape[1:]), np.nan, "f")])
  found = step.heatmap_loss(garbage, padded, sigma=6.0, kind=kind)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert hidden.any()


def _predict(batch, partners=PARTNERS, loss="mse", decoding="argmax"):
  predict = functools.partial(
    step.eval_step,
    model=MODEL,
    loss=LossConfig(heatmap=loss, target_sigma=4 / 32),
    pose=PoseConfig(decoding=decoding),
    partners=partners,
  )
  return np.asarray(jax.jit(predict)(_variables(), batch))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["argmax", "dark"])
def test_a_map_without_a_positive_value_says_so(kind):
  rows, columns = np.mgrid[:64, :48]
  bump = np.exp(-((columns - 20) ** 2 + (rows - 20) ** 2) / 8)
  maps = np.float32(np.stack([-bump - 0.1, np.zeros((64, 48)), bump]))
  found = np.asarray(jax.jit(step.keypoints_of, static_argnums=1)(maps, kind))
  np.testing.assert_array_equal(found[:2, :2], 1.5)
  np.testing.assert_array_equal(found[:, 2], maps.max((1, 2)))
  assert found[0, 2] < 0
  np.testing.assert_allclose(found[2, :2], 81.5, atol=1e-3)


def _mirrored(batch):
  return batch._replace(
    query=batch.query._replace(images=batch.query.images[:, :, :, ::-1])
  )


@pytest.mark.slow
def test_the_flip_test_is_flipping_by_hand():
  batch = _batch()
  apply = jax.jit(functools.partial(MODEL.apply, train=False))
  plain = np.asarray(apply(_variables(), batch.query.images[:, 0]))
  other = np.asarray(apply(_variables(), batch.query.images[:, 0, :, ::-1]))
  found = _predict(batch)
  for b, n in np.ndindex(4, 3):
    mean = np.zeros(CELLS)
    for y, x in np.ndindex(*CELLS):
      mean[y, x] = (plain[b, n, y, x] + other[b, PARTNERS[n], y, 3 - x]) / 2
    y, x = np.unravel_index(mean.argmax(), CELLS) if mean.max() > 0 else (0, 0)
    expected = [x * 4 + 1.5, y * 4 + 1.5, mean.max()]
    np.testing.assert_allclose(found[b, n], expected, atol=1e-4)


@pytest.mark.slow
def test_with_the_flip_test_a_mirrored_person_has_the_mirrored_pose():
  batch = _batch()
  found = _predict(batch, loss="cross_entropy", decoding="dark")
  mirrored = _predict(_mirrored(batch), loss="cross_entropy", decoding="dark")
  mirrored = mirrored[:, PARTNERS] * [-1, 1, 1] + [15, 0, 0]
  np.testing.assert_allclose(found, mirrored, atol=1e-3)
  plain = _predict(batch, partners=None, loss="cross_entropy")
  assert abs(plain - found).max() > 1


def test_logits_that_learned_their_target_peak_at_one():
  rows, columns = np.mgrid[:24, :24]
  logits = -((columns - 11) ** 2 + (rows - 9) ** 2) / (2 * 1.5**2) + 7.0
  maps = np.asarray(step.as_targets(jnp.float32(logits)[None, None], 1.5))
  np.testing.assert_allclose(maps[0, 0], np.exp(logits - 7.0), atol=1e-3)


@pytest.mark.slow
def test_dropout_depends_on_seed_and_step_alone():
  batch, tx = _batch(), optax.sgd(0.0)
  images = batch.query.images.astype(np.float32)
  batch = batch._replace(query=batch.query._replace(images=images))
  state = train_state.init_state(_variables(), tx)

  @functools.partial(jax.jit, static_argnames=("seed", "color_jitter"))
  def loss(state, seed, batch, color_jitter=0.0):
    train = functools.partial(
      step.train_step, model=MODEL, tx=tx, loss=LossConfig(), seed=seed
    )
    return train(state, batch, color_jitter=color_jitter)[1]["loss"]

  first = loss(state, 0, batch)
  # Colours, too: those that `color` gives the persons of a batch by the seed.
  jittered = loss(state, 0, batch, color_jitter=0.5)
  assert abs(jittered - first) > 1e-5 * first
  expected = loss(state, 0, color.jitter_batch(batch, 0, 0.5))
  np.testing.assert_allclose(jittered, expected, rtol=1e-5)
  assert first == loss(state, 0, batch)
  assert first != loss(state, 1, batch)
  assert first != loss(state._replace(step=jnp.int32(1)), 0, batch)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_devices_share_the_persons_and_agree_with_one(backend):
  batch, tx = _batch(), optax.sgd(0.1)
  transformer = dataclasses.replace(MODEL.config.transformer, dropout=0.0)
  config = dataclasses.replace(MODEL.config, transformer=transformer)
  train = functools.partial(
    step.train_step, model=TransPose(config, SIZE, 3), tx=tx, loss=LossConfig(), seed=0
  )
  state, values = jax.jit(train)(train_state.init_state(_variables(), tx), batch)
  fresh = jax.tree.map(np.array, train_state.init_state(_variables(), tx))  # is used up
  start = parallel.replicate(fresh, backend)
  run = parallel.parallelize_training(train, backend, SIZE)
  other, found = run(start, batch, None)
  np.testing.assert_allclose(found["loss"], values["loss"], rtol=1e-4)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-4),
    jax.device_get(other.params),
    jax.device_get(state.params),
  )
