import json

import jax
import numpy as np
import pytest
from helpers import random_episodes
from helpers.random_episodes import SIDE
from scipy import stats

from fskd_jax import episode, geometry
from fskd_jax.heatmaps import decoding, losses
from fskd_jax.metrics import distances as measured
from fskd_jax.metrics import scores as metrics_scores


def test_decode_inverts_targets_at_cell_centres():
  rng = np.random.default_rng(0)
  cells = rng.integers(0, (12, 16), size=(2, 5, 2))
  points = np.float32(cells * 4 + 1.5)

  @jax.jit
  def drawn_and_decoded(points):
    heatmaps = losses.heatmap_targets(points, (16, 12), 4, 6.4)
    return decoding.decode(heatmaps, 4, "argmax", decoding.BUMP_TEMPERATURE)

  found = drawn_and_decoded(points)
  np.testing.assert_array_equal(found.keypoints, points)


def _batch(seed=0, b=6, k=2, m=3, n=4):
  rng = np.random.default_rng(seed)
  batch = random_episodes.batch(rng, b, k, m, n)
  predictions = batch.query.keypoints + rng.normal(0, 4, (b, m, n, 2))
  species = rng.choice(["cat", "dog"], size=(b, m))
  return batch, predictions.astype(np.float32), species


NAMES = ("nose", "tail", "ear", "paw")


def _score(*batches, thresholds=(0.1, 0.2)):
  scores = metrics_scores.EpisodeScores(thresholds, NAMES)
  for batch in batches:
    scores.add(*batch)
  return scores.summary()


def _entries(batch, predictions, species):
  """Slow loops: (episode, type, species, distance / box, distance / image)."""
  q = batch.query
  for e, i, j in np.ndindex(q.visible.shape):
    if not q.visible[e, i, j] or not any(batch.support.visible[e, :, j]):
      continue
    a = q.to_original[e, i].astype(np.float64)
    dx, dy = a[:, :2] @ (predictions[e, i, j] - q.keypoints[e, i, j])
    distance = (dx**2 + dy**2) ** 0.5
    w, h = q.box[e, i, 2:]
    yield (
      e,
      NAMES[batch.keypoint_ids[e, j]],
      species[e, i],
      distance / max(w, h),
      distance / max(*q.image_size[e, i]),
    )


def _interval(entries, value):
  values = {}
  for entry in entries:
    values.setdefault(entry[0], []).append(value(entry))
  means = np.array([np.mean(v) for v in values.values()])
  low, high = stats.t.interval(
    0.95, len(means) - 1, loc=means.mean(), scale=stats.sem(means)
  )
  return {"mean": pytest.approx(means.mean()), "ci95": pytest.approx((high - low) / 2)}


def _told(mean):
  """The part of a mean that `_interval` knows."""
  return {key: mean[key] for key in ("mean", "ci95")}


def test_scores_equal_slow_loops():
  batch = _batch()
  entries = list(_entries(*batch))
  result = _score(batch)
  assert result["episodes"] == 6 and result["keypoints"] == len(entries)
  for t in (0.1, 0.2):
    correct = lambda entry, t=t: float(entry[3] <= t)
    assert _told(result["pck"][str(t)]) == _interval(entries, correct)
    micro = np.mean([correct(e) for e in entries])
    assert result["pck_micro"][str(t)] == pytest.approx(micro)
    for place, groups in ((1, "per_keypoint"), (2, "per_species")):
      for name, score in result[groups].items():
        chosen = [e for e in entries if e[place] == name]
        assert score["count"] == len(chosen)
        assert _told(score["pck"][str(t)]) == _interval(chosen, correct)
  assert set(result["per_keypoint"]) == set(NAMES)
  assert set(result["per_species"]) == {"cat", "dog"}
  assert _told(result["ne"]) == _interval(entries, lambda e: e[4])
  curve = np.linspace(0, 0.2, 2001)
  area = lambda e: np.mean(e[3] <= curve)
  auc = _interval(entries, area)["mean"].expected
  assert result["auc"]["mean"] == pytest.approx(auc, abs=1e-3)
  json.dumps(result, allow_nan=False)


def test_the_bootstrap_draws_species_only_where_no_episode_mixes_them():
  batch, predictions, species = _batch(b=12)
  apart = np.repeat([["cat"], ["dog"], ["elk"]], 4, axis=0).repeat(species.shape[1], 1)
  mixed = apart.copy()
  mixed[0, 0] = "dog"
  offset = np.float32([[0], [30], [60]]).repeat(4, 0)[:, :, None, None]
  predictions = batch.query.keypoints + offset  # a species is all right or all wrong
  ends = {}
  for name, found in (("apart", apart), ("mixed", mixed)):
    mean = _score((batch, predictions, found))["ne"]
    ends[name] = np.diff(mean["bootstrap95"])[0]
    assert mean["bootstrap95"][0] < mean["mean"] < mean["bootstrap95"][1]
  assert ends["apart"] > 1.3 * ends["mixed"]


def test_the_scores_of_episodes_are_what_the_summary_averages():
  batch, predictions, species = _batch()
  visible = batch.query.visible.copy()
  visible[2] = False
  batch = batch._replace(query=batch.query._replace(visible=visible))
  scores = metrics_scores.EpisodeScores((0.1, 0.2), NAMES)
  scores.add(batch, predictions, species)
  found, summary = scores.per_episode(), scores.summary()
  assert found["pck"]["0.1"][2] is None and found["ne"][2] is None
  rows = list(_entries(batch, predictions, species))
  for number in (0, 1, 3, 4, 5):
    right = np.mean([row[3] <= 0.1 for row in rows if row[0] == number])
    assert found["pck"]["0.1"][number] == pytest.approx(right, abs=1e-6)

  def same(values, mean):
    assert len(values) == 6
    assert np.mean([v for v in values if v is not None]) == pytest.approx(
      mean["mean"], abs=1e-6
    )

  same(found["ne"], summary["ne"])
  same(found["auc"], summary["auc"])
  for t in ("0.1", "0.2"):
    same(found["pck"][t], summary["pck"][t])
    assert set(found["per_keypoint"]) == set(summary["per_keypoint"])
    for name, values in found["per_keypoint"].items():
      same(values[t], summary["per_keypoint"][name]["pck"][t])
  json.dumps(found, allow_nan=False)


def test_two_batches_and_padding_change_nothing():
  batch, predictions, species = _batch()
  first, second = (
    episode.EpisodeBatch(
      *(episode.Views(*(x[part] for x in v)) for v in batch[:2]),
      *(x[part] for x in batch[2:]),
    )
    for part in (slice(0, 4), slice(4, 6))
  )
  rows = [
    episode.EpisodeBatch(
      *(episode.Views(*(x[i] for x in v)) for v in second[:2]),
      *(x[i] for x in second[2:]),
    )
    for i in range(2)
  ]
  padded = episode.stack(rows, size=4)
  scores = metrics_scores.EpisodeScores((0.1, 0.2), NAMES)
  scores.add(first, predictions[:4], species[:4])
  scores.add(padded, *(np.concatenate([x[4:], x[:2]]) for x in (predictions, species)))
  assert scores.summary() == _score((batch, predictions, species))
  assert len(scores.per_episode()["ne"]) == 6


def test_the_threshold_is_inclusive_and_of_the_longer_box_side():
  batch, _, species = _batch(b=2, m=1)
  query = batch.query._replace(
    to_original=np.tile(np.float32([[2, 0, 0], [0, 2, 0]]), (2, 1, 1, 1)),
    box=np.tile(np.float32([0, 0, 16, 64]), (2, 1, 1)),
    visible=np.ones_like(batch.query.visible),
  )
  batch = batch._replace(query=query)
  # 4 px of the crop are 8 of the original: 0.125 of 64, exactly.
  for step, expected in ((4.0, 1.0), (4.01, 0.0)):
    moved = np.round(query.keypoints) + np.float32([0, step])
    exact = batch._replace(query=query._replace(keypoints=np.round(query.keypoints)))
    result = _score((exact, moved, species), thresholds=(0.125,))
    assert result["pck"]["0.125"]["mean"] == expected


def test_an_episode_without_valid_keypoints_is_not_counted():
  batch, predictions, species = _batch(b=3)
  visible = batch.query.visible.copy()
  visible[1] = False
  batch = batch._replace(query=batch.query._replace(visible=visible))
  assert _score((batch, predictions, species))["episodes"] == 2
  scores = metrics_scores.EpisodeScores((0.1,), NAMES)
  scores.add(batch, predictions, species)
  per_episode = np.array(scores.per_episode()["pck"]["0.1"], float)
  assert np.isnan(per_episode).tolist() == [False, True, False]
  expected = scores.summary()["pck"]["0.1"]["mean"]
  assert np.nanmean(per_episode) == pytest.approx(expected, abs=1e-6)
  visible[:] = False
  with pytest.raises(ValueError, match="none of 3 episodes"):
    _score((batch, predictions, species))


def test_one_episode_has_no_interval():
  assert metrics_scores.episode_mean(np.ones(3), np.zeros(3, int)) == {
    "mean": 1.0,
    "ci95": None,
    "bootstrap95": None,
  }


def test_wrong_shapes_and_empty_boxes_are_named():
  batch, predictions, species = _batch()
  with pytest.raises(ValueError, match="expected"):
    measured.distances(batch, predictions[:, :1], species)
  batch.query.box[:, :, 2:] = 0
  with pytest.raises(ValueError, match="empty box"):
    measured.distances(batch, predictions, species)


def test_the_reference_recovers_distances_shorter_by_one_pixel_of_its_input():
  """Against its own way: pixels to normalised by L, and back by L - 1."""
  batch, predictions, species = _batch()
  recovery = measured.recovery_scale("reference", SIDE)
  ours = measured.distances(batch, predictions, species)
  found = measured.distances(batch, predictions, species, recovery)
  assert measured.recovery_scale("ours", SIDE) == 1.0

  def recovered(points):
    normalised = 2 * (points / SIDE - 0.5)
    back = (normalised / 2 + 0.5) * (SIDE - 1)
    return geometry.apply_affine(batch.query.to_original.astype(np.float64), back)

  errors = np.linalg.norm(
    recovered(np.float64(predictions)) - recovered(np.float64(batch.query.keypoints)),
    axis=-1,
  )
  expected = errors / batch.query.box[..., 2:].max(-1)[..., None]
  valid = np.asarray(episode.valid_queries(batch))
  np.testing.assert_allclose(found.to_box, expected[valid], rtol=1e-6)
  np.testing.assert_allclose(found.to_box, ours.to_box * 63 / 64)
  # A keypoint just beyond the threshold is found by the reference alone.
  limit = float(np.median(ours.to_box)) * (1 - 1e-3)
  scores = [metrics_scores.EpisodeScores((limit,), NAMES, r) for r in (1.0, recovery)]
  for s in scores:
    s.add(batch, predictions, species)
  strict, lenient = (s.summary()["pck_micro"][f"{limit:g}"] for s in scores)
  assert lenient > strict
