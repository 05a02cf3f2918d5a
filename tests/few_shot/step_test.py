import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from helpers import tiny_detector

from fskd_jax import episode
from fskd_jax.config import LossConfig
from fskd_jax.device import color
from fskd_jax.few_shot import losses, negatives
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.heatmaps import losses as heatmap_losses
from fskd_jax.models import aggregator
from fskd_jax.models.detector import init_variables
from fskd_jax.training import state as train_state

LOSS = LossConfig(
  heatmap="mse", target_sigma=0.15, auxiliary_weight=0.5, mfcl_weight=0.1
)
DETECTOR = tiny_detector.detector()


@functools.cache
def _variables():
  return init_variables(DETECTOR, seed=3)


@functools.lru_cache
def _compiled(loss_items, rate, **options):
  return jax.jit(
    functools.partial(
      few_shot_step.train_step,
      detector=DETECTOR,
      tx=optax.sgd(rate),
      loss=LossConfig(**dict(loss_items)),
      seed=5,
      **options,
    )
  )


def _train(
  batch,
  *,
  rotate_support=False,
  color_jitter=0.0,
  rate=1.0,
  state=None,
  **fields,
):
  state = state or train_state.init_state(_variables(), optax.sgd(rate))
  options = dataclasses.asdict(LOSS) | fields
  step = _compiled(
    tuple(sorted(options.items())),
    rate,
    rotate_support=rotate_support,
    color_jitter=color_jitter,
  )
  return step(state, batch)


READ = functools.partial(
  few_shot_step.read_keypoints,
  image_size=DETECTOR.image_size,
  loss=LOSS,
  kind="argmax",
)
_predict = jax.jit(
  functools.partial(few_shot_step.eval_step, detector=DETECTOR, reduce=READ)
)


@jax.jit
def _apply(variables, batch):
  return DETECTOR.apply(variables, batch, train=True, mutable=["batch_stats"])


def _heatmap_mean(batch, mask, variables):
  """The loss of both groups with the statistics of the batch, by its definition."""
  output, _ = _apply(variables, batch)
  groups = []
  for heatmaps in output.heatmaps:
    targets = heatmap_losses.heatmap_targets(batch.query.keypoints, (4, 4), 4, 2.4)
    errors = np.square(np.asarray(heatmaps - targets)).mean((-2, -1))
    groups.append(errors[np.asarray(mask)].mean())
  return np.mean(groups)


def test_variables_depend_on_the_seed_alone():
  same = [
    jax.tree.map(lambda a, b: bool((a == b).all()), _variables(), other)
    for other in (init_variables(DETECTOR, seed) for seed in (3, 4))
  ]
  assert all(jax.tree.leaves(same[0]))
  assert not same[1]["params"]["encoder"]["kernel"]


@pytest.mark.slow
def test_loss_is_the_weighted_sum_of_means_over_valid_keypoints():
  batch = tiny_detector.episodes()
  state, values = _train(batch)
  valid = batch.query.visible & batch.support.visible.any(1)[:, None]
  auxiliary = batch.is_auxiliary[:, None, :]
  main = _heatmap_mean(batch, valid & ~auxiliary, _variables())
  extra = _heatmap_mean(batch, valid & auxiliary, _variables())
  np.testing.assert_allclose(values["loss_main"], main, rtol=1e-5)
  np.testing.assert_allclose(values["loss_auxiliary"], extra, rtol=1e-5)
  assert values["loss_mfcl"] > 0
  total = main + 0.5 * extra + 0.1 * values["loss_mfcl"]
  np.testing.assert_allclose(values["loss"], total, rtol=1e-5)
  assert int(state.step) == 1


def test_the_update_is_the_gradient_of_the_loss():
  batch = tiny_detector.episodes()
  start = train_state.init_state(_variables(), optax.sgd(1.0))
  state, values = _train(batch, state=start)
  gradient = jax.tree.map(np.subtract, start.params, state.params)
  norm = float(values["gradient_norm"])
  np.testing.assert_allclose(norm, optax.tree.norm(gradient), rtol=1e-5)
  losses_beside = []
  for sign in (1, -1):
    shifted = jax.tree.map(
      lambda p, g, s=sign: p + s * 0.02 / norm * g, start.params, gradient
    )
    losses_beside.append(
      float(_train(batch, state=start._replace(params=shifted))[1]["loss"])
    )
  slope = (losses_beside[0] - losses_beside[1]) / 0.04
  np.testing.assert_allclose(slope, norm, rtol=2e-2)


def test_statistics_are_updated_and_steps_repeat_bit_for_bit():
  batch = tiny_detector.episodes()
  first, second = _train(batch)[0], _train(batch)[0]
  equal = jax.tree.map(lambda a, b: bool((a == b).all()), first, second)
  assert all(jax.tree.leaves(equal))
  assert (first.batch_stats["norm"]["mean"] != 0).any()


@pytest.mark.slow
def test_parts_of_the_episodes_are_all_of_them():
  batch = tiny_detector.episodes()
  start = train_state.init_state(_variables(), optax.sgd(1.0))
  found = [
    jax.jit(
      functools.partial(
        few_shot_step.train_step,
        detector=DETECTOR.clone(is_frozen=True),
        tx=optax.sgd(1.0),
        loss=dataclasses.replace(LOSS, mfcl_weight=0.0),
        seed=5,
        rotate_support=True,
        color_jitter=0.2,
        parts=parts,
      )
    )(start, batch)
    for parts in (1, 4)
  ]
  assert float(found[0][1]["gradient_norm"]) > 1e-3
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), *found
  )


def test_without_mfcl_nothing_of_it_is_computed():
  values = _train(tiny_detector.episodes(b=1), mfcl_weight=0.0)[1]
  assert "loss_mfcl" not in values
  with pytest.raises(ValueError, match="1 episode per device"):
    _train(tiny_detector.episodes(b=1))


# Compiled: hundreds of small programs would cost more than these.
_sample = jax.jit(
  negatives.sample_negatives,
  static_argnames=("image_size", "num", "distance", "box_scale"),
)
_pool = jax.jit(aggregator.pool_features, static_argnames=("image_size", "sigma"))
_contrast = jax.jit(losses.mfcl_loss, static_argnums=(4, 5))

OTHER_MFCL = {
  "mfcl_level": "instance",
  "mfcl_temperature": 0.3,
  "negatives_per_image": 4,
  "negative_distance": 0.15,
  "negative_box_scale": 0.6,
}


def _mfcl(batch, loss, pool_sigma=DETECTOR.config.pool_sigma):
  """Mean-feature contrastive loss of the first step, put together by hand."""
  output, _ = _apply(_variables(), batch)
  views = episode.all_views(batch)
  pool = functools.partial(
    _pool,
    output.features,
    image_size=tiny_detector.SIDE,
    sigma=pool_sigma,
  )
  background = None
  if loss.negatives_per_image:
    points = np.zeros((*views.visible.shape[:2], loss.negatives_per_image, 2))
    for b, t in np.ndindex(points.shape[:2]):
      key = jax.random.fold_in(jax.random.key(5), batch.episode_index[b])
      points[b, t] = _sample(
        jax.random.fold_in(key, t),
        views.keypoints[b, t],
        views.visible[b, t],
        image_size=tiny_detector.SIDE,
        num=loss.negatives_per_image,
        distance=loss.negative_distance,
        box_scale=loss.negative_box_scale,
      )
    background = pool(np.float32(points))
  total, count = _contrast(
    pool(views.keypoints),
    views.visible,
    batch.keypoint_ids,
    background,
    loss.mfcl_temperature,
    loss.mfcl_level,
  )
  return total / count


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"negatives_per_image": 0}, OTHER_MFCL])
def test_mfcl_contrasts_keypoints_with_negatives_sampled_as_configured(fields):
  batch = tiny_detector.episodes()
  expected = _mfcl(batch, dataclasses.replace(LOSS, **fields))
  found = _train(batch, **fields)[1]["loss_mfcl"]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_every_detail_of_mfcl_matters_to_what_is_compared():
  batch = tiny_detector.episodes()
  loss = dataclasses.replace(LOSS, **OTHER_MFCL)
  expected, others = _mfcl(batch, loss), [_mfcl(batch, loss, pool_sigma=0.15)]
  for field in OTHER_MFCL:
    default = {field: getattr(LossConfig(), field)}
    others.append(_mfcl(batch, dataclasses.replace(loss, **default)))
  assert all(abs(other - expected) > 1e-3 * expected for other in others)


@pytest.mark.slow
def test_colours_are_jittered_by_the_seed_of_the_run():
  batch = tiny_detector.episodes()
  plain, found = _train(batch)[1], _train(batch, color_jitter=0.3)[1]
  jitter = jax.jit(functools.partial(color.jitter_batch, seed=5, strength=0.3))
  expected = _train(jitter(batch))[1]
  assert abs(found["loss_main"] - plain["loss_main"]) > 1e-3 * plain["loss_main"]
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_nothing_valid_gives_zero_not_nan():
  batch = tiny_detector.episodes()
  hide = lambda views: views._replace(visible=np.zeros_like(views.visible))
  blank = batch._replace(support=hide(batch.support), query=hide(batch.query))
  state, values = _train(blank)
  assert {name: float(v) for name, v in values.items()} == dict.fromkeys(values, 0.0)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


@pytest.mark.slow
def test_rotated_support_averages_over_all_roles():
  batch = tiny_detector.episodes(b=3)
  batch.query.visible[:] = (
    np.random.default_rng(1).random(batch.query.visible.shape) < 0.7
  )
  rotated = _train(batch, rotate_support=True, mfcl_weight=0.0)[1]
  views = episode.all_views(batch)
  total, number = 0.0, 0
  for place in range(3):
    rolled = episode.Views(*(np.roll(field, -place, axis=1) for field in views))
    role = batch._replace(
      support=episode.Views(*(field[:, :1] for field in rolled)),
      query=episode.Views(*(field[:, 1:] for field in rolled)),
    )
    valid = episode.valid_queries(role) & ~batch.is_auxiliary[:, None]
    total += _train(role, mfcl_weight=0.0)[1]["loss_main"] * valid.sum()
    number += valid.sum()
  np.testing.assert_allclose(rotated["loss_main"], total / number, rtol=1e-5)


@pytest.mark.slow
def test_eval_step_decodes_the_mean_of_the_groups():
  batch = tiny_detector.episodes()
  predicted = np.asarray(_predict(_variables(), batch).keypoints)
  apply = jax.jit(functools.partial(DETECTOR.apply, train=False))
  heatmaps = np.asarray(apply(_variables(), batch).heatmaps[0])
  assert predicted.shape == batch.query.keypoints.shape
  for index in [(0, 0, 0), (3, 1, 2), (7, 0, 3)]:
    row, column = np.unravel_index(heatmaps[index].argmax(), (4, 4))
    np.testing.assert_array_equal(predicted[index], [column * 4 + 1.5, row * 4 + 1.5])
