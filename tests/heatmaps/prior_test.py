"""The prior of all keypoints together: slow loops, symmetries, outliers, few points."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.heatmaps import decoding, placements
from fskd_jax.heatmaps import prior as priors
from fskd_jax.heatmaps.placements import SHARES
from fskd_jax.heatmaps.prior import OUTLIERS, Places, Prior

CELLS, STRIDE = 16, 4
PRIOR = Prior(strength=1.0, sigma=0.05)
SHAPE = np.array([[-4.0, -3], [4, -3], [-3, 0.5], [3, 1], [-2, 4], [2.5, 5]])
"""Keypoints about the centre, cells."""


def _bumps(points, height=8.0, sigma=1.2):
  """Draws logits [n h w] with a bump at each point (cells)."""
  rows, columns = np.indices((CELLS, CELLS))
  squares = (columns - points[:, 0, None, None]) ** 2
  squares = squares + (rows - points[:, 1, None, None]) ** 2
  return height * np.exp(-squares / (2 * sigma**2)).astype(np.float32)


def _turned(points, degrees, scale=1.0, shift=(0, 0), mirrored=False):
  angle = math.radians(degrees)
  turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  points = points * [-1 if mirrored else 1, 1]
  return scale * points @ turn.T + shift + (CELLS - 1) / 2


def _places(shots, visible=None, support_boxes=None, query_box=(1.0, 1.0)):
  shots = np.asarray(shots, np.float64)
  count = len(shots)
  return Places(
    (shots * STRIDE + (STRIDE - 1) / 2)[None],
    np.ones(shots.shape[:2], bool)[None] if visible is None else visible[None],
    np.ones((1, count, 2)) if support_boxes is None else support_boxes[None],
    np.array(query_box)[None, None],
  )


@functools.partial(jax.jit, static_argnames="prior")
def _decode(logits, places, prior=PRIOR):
  return decoding.decode(logits, STRIDE, "mode", 1.0, prior, places)


@jax.jit
def _plain(logits):
  return decoding.decode(logits, STRIDE, "mode", 1.0)


def _log_prior(logits, places, prior=PRIOR, function=priors.log_prior):
  logits = np.float32(logits)[None, None]
  plain = _plain(logits)
  read = jax.jit(function, static_argnums=(4, 5))
  return np.asarray(
    read(logits, plain.keypoints, plain.mass, places, STRIDE, prior)[0, 0]
  )


def _read(logits, places, prior=PRIOR):
  """Returns keypoints in cells."""
  found = _decode(jnp.asarray(logits, jnp.float32)[None, None], places, prior)
  return (np.asarray(found.keypoints[0, 0]) - (STRIDE - 1) / 2) / STRIDE


def _slow(logits, shots, visible, copied, prior):
  """The mixture by loops over hypotheses, keypoints and cells, in complex numbers."""
  count = len(logits)
  chances = np.exp(logits - logits.max((1, 2), keepdims=True))
  chances /= chances.sum((1, 2), keepdims=True)
  found = np.asarray(_plain(np.float32(logits)).keypoints, np.float64)
  modes = (found - (STRIDE - 1) / 2) / STRIDE @ [1, 1j]
  sigma, middle = prior.sigma * CELLS, (CELLS - 1) / 2 * (1 + 1j)
  real = [k for k in range(len(shots)) if visible[k].any()]
  rows = [(None, None, SHARES["nothing"], ())]
  for k in real:
    for spread in placements.BOX_SPREADS:
      belief = min((visible[k].sum() - 1) / placements.ENOUGH, 1.0)
      share = belief * SHARES["box"] / len(placements.BOX_SPREADS) / len(real)
      at = copied[k] @ [1, 1j]
      rows.append((at, np.full(count, (spread * CELLS) ** 2 + 0.25), share, (), k))
    pairs = [
      p for p in itertools.combinations(range(count), 2) if visible[k][list(p)].all()
    ]
    for a, b in pairs:
      for kind in ("plain", "mirrored"):
        s = shots[k] @ [1, 1j]
        if kind == "mirrored":
          s = CELLS - 1 - s.conj()
        alpha = (modes[b] - modes[a]) / (s[b] - s[a])
        seen = (s - s[a]) / (s[b] - s[a])
        shift = abs(modes[a] + alpha * (middle - s[a]) - middle) / CELLS
        share = SHARES[kind] / len(real) / len(pairs)
        share *= math.exp(-((math.log(abs(alpha)) / 0.5) ** 2) / 2)
        share *= math.exp(-((shift / 0.2) ** 2) / 2)
        variance = sigma**2 * (1 + abs(seen) ** 2 + abs(1 - seen) ** 2) + 0.25
        rows.append(
          (modes[a] + seen * (modes[b] - modes[a]), variance, share, (a, b), k)
        )
  cell = np.arange(CELLS)[None] + 1j * np.arange(CELLS)[:, None]

  def density(row, i):
    if row[0] is None or not visible[row[4]][i]:
      return None
    squares = abs(cell - row[0][i]) ** 2
    return CELLS**2 * np.exp(-squares / (2 * row[1][i])) / (2 * np.pi * row[1][i])

  def vote(row, i):
    at = density(row, i)
    return 1.0 if at is None else (1 - OUTLIERS) * (at * chances[i]).sum() + OUTLIERS

  result = []
  for i in range(count):
    weights = [
      0.0
      if i in row[3]
      else row[2] * math.prod(vote(row, j) for j in range(count) if j != i)
      for row in rows
    ]
    mixed = sum(
      w * (1.0 if density(row, i) is None else density(row, i))
      for w, row in zip(weights, rows)
    ) / sum(weights)
    result.append(prior.strength * np.log((1 - OUTLIERS) * mixed + OUTLIERS))
  return np.stack(result)


def test_it_equals_the_slow_loops():
  """Two supports of other shapes, one without two of the keypoints."""
  rng = np.random.default_rng(0)
  shots = np.stack([_turned(SHAPE[:5], 20), _turned(SHAPE[:5], -30, 0.8, (1, 0))])
  logits = rng.normal(size=(5, CELLS, CELLS)) + _bumps(_turned(SHAPE[:5], 40), 6.0)
  visible = np.array([[True] * 5, [True, False, True, True, False]])
  boxes, query = np.array([[30.0, 40.0], [20.0, 10.0]]), (80.0, 160.0)
  places = _places(shots, visible, boxes, query)
  stretch = np.array([[0.5 / 0.75, 1.0], [0.5, 1 / 0.5]])
  copied = (shots - 7.5) * stretch[:, None] + 7.5
  prior = Prior(strength=0.7, sigma=0.06)
  expected = _slow(logits.astype(np.float32), shots, visible, copied, prior)
  found = _log_prior(logits.astype(np.float32), places, prior)
  np.testing.assert_allclose(found, expected, atol=2e-3)
  assert expected.max() > 1 and expected.min() < -1


def test_chunks_of_keypoints_change_nothing(monkeypatch):
  logits = _bumps(_turned(SHAPE, 70, shift=(1, -1)))
  places = _places([_turned(SHAPE, 0)])
  whole = _log_prior(logits, places)
  monkeypatch.setattr(priors, "_CHUNK", 4)
  again = lambda *given: priors.log_prior(*given)  # traced anew, in other chunks
  np.testing.assert_allclose(
    _log_prior(logits, places, function=again), whole, atol=1e-5
  )


@pytest.mark.parametrize("degrees", [0, 35, 90, 180])
@pytest.mark.parametrize("scale, shift", [(1.0, (0, 0)), (0.7, (2, -1))])
@pytest.mark.parametrize("mirrored", [False, True])
def test_one_outlier_of_six_does_not_move_the_others_and_is_drawn_back(
  degrees, scale, shift, mirrored
):
  truth = _turned(SHAPE, degrees, scale, shift, mirrored)
  logits = _bumps(truth)
  wrong = np.where(truth[2] > 7.5, truth[2] - 6, truth[2] + 6)
  logits[2] = _bumps(np.stack([wrong, truth[2]]))[0] + 0.8 * _bumps(truth[2:3])[0]
  places = _places([_turned(SHAPE, 0)])
  plain = _read(logits, places, None)
  assert np.linalg.norm(plain[2] - truth[2]) > 5
  found = _read(logits, places)
  others = [0, 1, 3, 4, 5]
  np.testing.assert_allclose(found[others], plain[others], atol=0.15)
  assert np.linalg.norm(found[2] - truth[2]) < 0.7


def test_a_sure_heat_map_is_believed_against_all_others():
  truth = _turned(SHAPE, 50)
  logits = _bumps(truth)
  logits[2] = _bumps(np.array([[12.0, 13.0]]), height=16.0)[0]
  np.testing.assert_allclose(
    _read(logits, _places([_turned(SHAPE, 0)]))[2], [12, 13], atol=0.3
  )


@pytest.mark.parametrize("name", ["a quarter turn", "a mirror"])
def test_support_and_query_moved_alike_move_the_prior_alike(name):
  """Exactly where cells fall on cells."""
  rng = np.random.default_rng(1)
  support = _turned(SHAPE, 10, 0.9, (1, 0.5))
  logits = rng.normal(size=(6, CELLS, CELLS)) + _bumps(_turned(SHAPE, 60), 5.0)
  logits = logits.astype(np.float32)
  box, query = np.array([[30.0, 20.0]]), (10.0, 15.0)
  before = _log_prior(logits, _places([support], None, box, query))
  if name == "a mirror":
    moved, maps = [CELLS - 1, 0] + support * [-1, 1], logits[:, :, ::-1]
    expected = before[:, :, ::-1]
  else:  # (x, y) goes to (y, last - x)
    moved = np.stack([support[:, 1], CELLS - 1 - support[:, 0]], axis=1)
    maps, expected = np.rot90(logits, axes=(1, 2)), np.rot90(before, axes=(1, 2))
    box, query = box[:, ::-1], query[::-1]
  found = _log_prior(maps.copy(), _places([moved], None, box, query))
  np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_order_of_keypoints_does_not_matter():
  rng = np.random.default_rng(2)
  logits = (rng.normal(size=(6, CELLS, CELLS)) + _bumps(_turned(SHAPE, 60))).astype(
    np.float32
  )
  support, order = _turned(SHAPE, 0), rng.permutation(6)
  found = _log_prior(logits[order], _places([support[order]]))
  np.testing.assert_allclose(
    found, _log_prior(logits, _places([support]))[order], atol=1e-3
  )


def test_what_is_masked_changes_nothing():
  """Neither keypoints that are not visible, nor empty shots, whatever they hold."""
  truth = _turned(SHAPE, 40)
  logits = _bumps(truth)
  support = _turned(SHAPE, 0)
  expected = _log_prior(logits[:4], _places([support[:4]]))
  shots = np.full((2, 6, 2), np.nan)
  shots[0, :4] = support[:4]
  visible = np.zeros((2, 6), bool)
  visible[0, :4] = True
  boxes = np.array([[1.0, 1.0], [0.0, 0.0]])
  found = _log_prior(logits, _places(shots, visible, boxes))
  np.testing.assert_allclose(found[:4], expected, atol=1e-4)
  np.testing.assert_allclose(found[4:], 0, atol=1e-5)


def test_three_supports_are_what_four_with_an_empty_one_are():
  logits = _bumps(_turned(SHAPE, 40))
  shots = np.stack([_turned(SHAPE, angle) for angle in (0, 30, -60, 0)])
  visible = np.ones((4, 6), bool)
  visible[3] = False
  three = _log_prior(logits, _places(shots[:3], visible[:3]))
  np.testing.assert_allclose(
    _log_prior(logits, _places(shots, visible)), three, atol=1e-4
  )


def test_few_keypoints_are_nudged_to_the_box_and_no_further():
  """One: not at all. Two: the box, if the other agrees; else next to nothing."""
  support = _turned(SHAPE, 0)
  spread = lambda found: found.max() - found.min()
  one = _log_prior(_bumps(support[:1]), _places([support[:1]]))
  np.testing.assert_array_equal(one, 0)
  alike = _log_prior(_bumps(support[:2]), _places([support[:2]]))
  top = np.unravel_index(alike[1].argmax(), alike[1].shape)
  np.testing.assert_allclose(top[::-1], support[1], atol=0.51)
  elsewhere = _log_prior(_bumps(support[:2] + [0, 9]), _places([support[:2]]))
  assert spread(elsewhere[1]) < 0.5 * spread(alike[1])
  with pytest.raises(ValueError, match="places"):
    decoding.decode(jnp.zeros((1, 1, 2, 4, 4)), 1, "mode", 1.0, PRIOR)


def test_flat_heat_maps_in_a_box_known_to_fit_fall_back_to_the_box():
  """Three sure keypoints where the box has them tell where a fourth must be."""
  support = _turned(SHAPE, 0)
  logits = _bumps(support)
  logits[5] = 0.0
  np.testing.assert_allclose(_read(logits, _places([support]))[5], support[5], atol=0.4)
  # The same in a box of another shape: wide instead of square.
  wide = (support - 7.5) * [1, 0.5] + 7.5
  logits = _bumps(wide)
  logits[5] = 0.0
  found = _read(logits, _places([support], query_box=(2.0, 1.0)))[5]
  np.testing.assert_allclose(found, wide[5], atol=0.4)


def test_without_a_prior_and_at_strength_zero_the_plain_mode_is_read():
  rng = np.random.default_rng(3)
  logits = rng.normal(size=(6, CELLS, CELLS)).astype(np.float32)
  places = _places([_turned(SHAPE, 0)])
  plain = _plain(logits[None, None])
  for prior in (None, Prior(strength=0.0, sigma=0.05)):
    found = _decode(jnp.asarray(logits)[None, None], places, prior)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), found, plain)


def test_the_peak_is_that_of_the_heat_map_where_the_keypoint_was_read():
  truth = _turned(SHAPE, 0)
  logits = _bumps(truth)
  logits[2] = _bumps(truth[2:3] + 7)[0] + 0.8 * _bumps(truth[2:3])[0]
  found = _decode(jnp.asarray(logits)[None, None], _places([truth]))
  cell = np.round(truth[2]).astype(int)
  np.testing.assert_allclose(found.peak[0, 0, 2], logits[2, cell[1], cell[0]], atol=1.0)
  assert found.peak[0, 0, 2] < logits[2].max() - 0.5
