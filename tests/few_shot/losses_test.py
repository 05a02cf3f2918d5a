import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.parity.cases import normalized_to_pixels
from fskd_jax import geometry
from fskd_jax.episode import PADDING
from fskd_jax.few_shot import losses
from fskd_jax.heatmaps import losses as heatmap_losses

SIZE, CELLS, SIGMA = 64, (8, 8), 6.0
KINDS = ("mse", "weighted_mse", "cross_entropy")

mfcl_loss = jax.jit(losses.mfcl_loss, static_argnames="level")
pair_loss = jax.jit(losses.pair_loss)


def _batch(seed=0, shape=(2, 3, 4)):
  rng = np.random.default_rng(seed)
  heatmaps = rng.normal(size=(*shape, *CELLS)).astype(np.float32)
  keypoints = rng.uniform(0, SIZE - 1, size=(*shape, 2)).astype(np.float32)
  return heatmaps, keypoints, rng.random(shape) < 0.6


@functools.partial(jax.jit, static_argnums=3)
def _loss(heatmaps, keypoints, valid, kind):
  return heatmap_losses.heatmap_loss(
    heatmaps, keypoints, valid, stride=8, sigma=SIGMA, kind=kind
  )


def test_heatmap_loss_golden(golden):
  # Clamped like the original does; the published function takes clean input.
  keypoints = np.clip(normalized_to_pixels(golden["loss_keypoints"], 384), 0, 383)
  targets = heatmap_losses.heatmap_targets(keypoints, (48, 48), 8, 14)
  np.testing.assert_allclose(targets, golden["loss_target_bnhw"], atol=2e-6)
  total, count = heatmap_losses.heatmap_loss(
    golden["loss_pred_bnhw"][:, None],
    keypoints[:, None],
    golden["loss_mask"][:, None] > 0,
    stride=8,
    sigma=14,
    kind="mse",
  )
  np.testing.assert_allclose(total / count, golden["loss_value"], rtol=1e-6)


def test_heatmap_targets_peak_in_row_y_and_column_x():
  x, y = 4, 1
  keypoint = np.float32([x * 8 + 3.5, y * 8 + 3.5])
  targets = np.asarray(heatmap_losses.heatmap_targets(keypoint, CELLS, 8, SIGMA))
  assert targets[y, x] == 1.0
  assert targets[y, x + 1] == pytest.approx(np.exp(-64 / 72), rel=1e-6)
  assert targets[7, 0] == 0.0  # beyond the cut


@pytest.mark.parametrize("kind", KINDS)
def test_heatmap_loss_equals_slow_loop(kind):
  heatmaps, keypoints, valid = _batch()
  total, number = 0.0, 0
  for index in np.argwhere(valid):
    x, y = keypoints[tuple(index)].astype(np.float64)
    target = np.zeros(CELLS)
    for row in range(CELLS[0]):
      for column in range(CELLS[1]):
        d2 = (column * 8 + 3.5 - x) ** 2 + (row * 8 + 3.5 - y) ** 2
        target[row, column] = np.exp(-d2 / (2 * SIGMA**2))
    prediction = heatmaps[tuple(index)].astype(np.float64)
    if kind != "cross_entropy":
      target[target < np.exp(-geometry.GAUSSIAN_CUT)] = 0
      weights = 1 + 20 * target if kind == "weighted_mse" else 1
      total += (weights * (prediction - target) ** 2).mean()
    else:
      log_p = prediction - np.log(np.exp(prediction).sum())
      total -= (target / target.sum() * log_p).sum()
    number += 1
  loss, count = _loss(heatmaps, keypoints, valid, kind)
  assert loss.dtype == count.dtype == jnp.float32
  np.testing.assert_allclose([loss, count], [total, number], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_heatmap_loss_ignores_what_is_not_valid(kind):
  heatmaps, keypoints, valid = _batch()
  garbage = np.where(valid[..., None, None], heatmaps, np.float32(np.nan))
  far = np.where(valid[..., None], keypoints, 0)
  expected = _loss(heatmaps, keypoints, valid, kind)
  np.testing.assert_array_equal(_loss(garbage, far, valid, kind), expected)
  assert float(_loss(heatmaps, keypoints, np.zeros_like(valid), kind)[0]) == 0.0
  swapped = _loss(heatmaps, keypoints[..., ::-1], valid, kind)[0]
  assert abs(float(swapped - expected[0])) > 1e-3


def test_cross_entropy_is_lowest_at_the_target_and_ignores_an_offset():
  heatmaps, keypoints, valid = _batch()
  exponents = geometry.gaussian_exponents(keypoints, CELLS, 8, SIGMA)
  best = _loss(-exponents, keypoints, valid, "cross_entropy")[0]
  assert best < _loss(-0.9 * exponents, keypoints, valid, "cross_entropy")[0]
  shifted = _loss(7.0 - exponents, keypoints, valid, "cross_entropy")[0]
  np.testing.assert_allclose(best, shifted, rtol=1e-5)


def test_heatmap_loss_gradient_matches_finite_differences():
  heatmaps, keypoints, valid = _batch()
  for kind in KINDS:
    f = lambda x, kind=kind: _loss(x, keypoints, valid, kind)[0]
    direction = np.random.default_rng(1).normal(size=heatmaps.shape)
    direction = jnp.asarray(direction, jnp.float32)
    slope = (f(heatmaps + 1e-2 * direction) - f(heatmaps - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(
      (jax.grad(f)(heatmaps) * direction).sum(), slope, rtol=1e-2
    )


def test_heatmap_loss_rejects_unknown_kind():
  heatmaps, keypoints, valid = _batch()
  with pytest.raises(ValueError, match="'l1'"):
    _loss(heatmaps, keypoints, valid, "l1")


def _golden_pairs(golden, negatives_of):
  means = golden["mfcl_means_scn"].transpose(0, 2, 1)
  seen = golden["mfcl_mask"] > 0
  ids = np.arange(means.shape[1])
  values = []
  for a in range(3):
    for b in range(a + 1, 3):
      negatives = negatives_of(a, b).reshape(-1, means.shape[2])
      loss, counted = pair_loss(
        (means[a], means[b]), (seen[a], seen[b]), (ids, ids), negatives, 0.05
      )
      assert counted
      values.append(float(loss))
  return np.mean(values)


@pytest.mark.slow
def test_mfcl_golden(golden):
  negatives = golden["mfcl_negatives_scm"].transpose(0, 2, 1)
  for name, negatives_of in {
    "mfcl_no_negatives": lambda a, b: negatives[:0],
    "mfcl_pair_negatives": lambda a, b: negatives[[a, b]],
    "mfcl_all_negatives": lambda a, b: negatives,
  }.items():
    np.testing.assert_allclose(
      _golden_pairs(golden, negatives_of), golden[name], rtol=2e-6
    )
  # The same through the public loss: one image per episode is its own mean.
  features = golden["mfcl_means_scn"].transpose(0, 2, 1)[:, None]
  seen = (golden["mfcl_mask"] > 0)[:, None]
  ids = np.tile(np.arange(7), (3, 1))
  for name, points in {
    "mfcl_no_negatives": None,
    "mfcl_pair_negatives": negatives[:, None],
  }.items():
    total, count = mfcl_loss(features, seen, ids, points, 0.05)
    np.testing.assert_allclose(total / count, golden[name], rtol=2e-6)
    assert count == 3


def test_pair_loss_small_example():
  # the example of docs/algorithm.md#mfcl.
  first = np.eye(3, dtype=np.float32)
  second = np.float32([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
  seen = np.array([True, True, False]), np.array([True] * 3)
  ids = np.arange(3), np.arange(3)
  for negatives, expected in (
    (np.zeros((0, 3), np.float32), 0.519861),
    (np.float32([[1, 1, 1], [-1, 0, 1]]), 1.536366),
  ):
    loss, counted = pair_loss((first, second), seen, ids, negatives, 0.05)
    assert counted
    assert float(loss) == pytest.approx(expected, abs=2e-6)


def _episodes(seed=0, b=3, t=2, n=4, c=5, g=3):
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(b, t, n, c)).astype(np.float32)
  visible = rng.random((b, t, n)) < 0.6
  ids = np.stack([rng.permutation(6)[:n] for _ in range(b)]).astype(np.int32)
  ids[0, -1] = ids[1, -1] = PADDING
  return features, visible, ids, rng.normal(size=(b, t, g, c)).astype(np.float32)


def _cosine(a, b):
  return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def _slow_mfcl(features, visible, ids, negatives, tau):
  b, _, n, _ = features.shape
  total, number = 0.0, 0
  for s1 in range(b):
    for s2 in range(s1 + 1, b):
      halves = []
      for x, y in ((s1, s2), (s2, s1)):
        mean = lambda s, i: features[s, visible[s, :, i], i].mean(0)
        shown = lambda s, i: visible[s, :, i].any()
        terms = []
        for i in range(n):
          match = [j for j in range(n) if ids[y, j] == ids[x, i] != PADDING]
          if not match or not shown(x, i) or not shown(y, match[0]):
            continue
          logit = lambda v, i=i, x=x, mean=mean: _cosine(mean(x, i), v) / tau
          others = [logit(mean(y, j)) for j in range(n) if shown(y, j)]
          for s in (s1, s2):
            others += [logit(v) for v in negatives[s].reshape(-1, features.shape[-1])]
          terms.append(np.log(np.exp(others).sum()) - logit(mean(y, match[0])))
        halves.append(terms)
      if halves[0]:
        total += (np.mean(halves[0]) + np.mean(halves[1])) / 2
        number += 1
  return total, number


@pytest.mark.parametrize("seed", [0, 1])
def test_mfcl_equals_slow_loop_with_ids_in_any_order(seed):
  batch = _episodes(seed)
  total, count = mfcl_loss(*batch, 0.5)
  np.testing.assert_allclose((total, count), _slow_mfcl(*batch, 0.5), rtol=1e-5)
  assert count > 0


def test_instance_level_contrasts_every_image_with_every_image():
  features, visible, ids, negatives = _episodes()
  total = number = 0.0
  for first in range(len(features)):
    for second in range(first + 1, len(features)):
      for i, j in np.ndindex(*features.shape[1:2] * 2):
        rows, images = [first, second], [i, j]
        one = lambda x, rows=rows, images=images: x[rows, images][:, None]
        pair = one(features), one(visible), ids[rows], negatives[rows]
        found = _slow_mfcl(*pair, 0.5)
        total, number = total + found[0], number + found[1]
  found = mfcl_loss(features, visible, ids, negatives, 0.5, level="instance")
  np.testing.assert_allclose(found, (total, number), rtol=1e-5)
  assert number > mfcl_loss(features, visible, ids, negatives, 0.5)[1]


@pytest.mark.slow
def test_mfcl_ignores_invisible_features_and_padding():
  features, visible, ids, negatives = _episodes()
  expected = mfcl_loss(features, visible, ids, negatives, 0.5)
  changed = np.where(visible[..., None], features, 99.0)
  np.testing.assert_array_equal(
    mfcl_loss(changed, visible, ids, negatives, 0.5), expected
  )
  nothing = mfcl_loss(features, visible, np.full_like(ids, PADDING), None, 0.5)
  assert [float(x) for x in nothing] == [0.0, 0.0]
  alone = mfcl_loss(features[:1], visible[:1], ids[:1], None, 0.5)
  assert [float(x) for x in alone] == [0.0, 0.0]


def test_mfcl_gradient_is_finite_and_reaches_negatives():
  features, visible, ids, negatives = _episodes()
  visible[0] = False
  grads = jax.grad(lambda f, g: mfcl_loss(f, visible, ids, g, 0.05)[0], argnums=(0, 1))(
    features, negatives
  )
  assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in grads)
  assert not np.asarray(grads[0])[~visible].any()
