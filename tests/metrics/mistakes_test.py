import numpy as np
import pytest
from helpers import random_episodes
from helpers.random_episodes import SIDE

from fskd_jax import episode
from fskd_jax.metrics import mistakes
from fskd_jax.metrics.distances import distances
from fskd_jax.metrics.scores import EpisodeScores

NAMES = ("left eye", "right eye", "nose", "tail")
PARTNER = np.array([1, 0, 2, 3])
JUDGE = mistakes.Judge(PARTNER, 0.1)


def _batch(seed=0, b=40, m=3):
  return random_episodes.batch(np.random.default_rng(seed), b, 2, m, len(NAMES))


def _guesses(batch, seed=1):
  """Places near own keypoints, near others, and anywhere."""
  rng = np.random.default_rng(seed)
  points = batch.query.keypoints
  others = np.take_along_axis(
    points,
    rng.permuted(np.broadcast_to(np.arange(4), points.shape[:-1]), axis=-1)[..., None],
    axis=2,
  )
  way = rng.integers(3, size=points.shape[:-1])[..., None]
  guesses = np.select(
    [way == 0, way == 1], [points, others], rng.uniform(0, SIDE - 1, points.shape)
  )
  return (guesses + rng.normal(0, 5, points.shape)).astype(np.float32)


def _slow_kind(batch, predictions, e, i, j):
  query = batch.query
  matrix = query.to_original[e, i].astype(np.float64)
  limit = 0.1 * query.box[e, i, 2:].max()

  def distance(slot):
    return np.linalg.norm(
      matrix[:, :2] @ (predictions[e, i, j] - query.keypoints[e, i, slot])
    )

  others = [s for s in range(4) if s != j and query.visible[e, i, s]]
  nearest = min(others, key=distance, default=None)
  if distance(j) <= limit:
    return "right"
  if nearest is not None and distance(nearest) <= limit:
    ids = batch.keypoint_ids[e]
    is_partner = {NAMES[ids[j]], NAMES[ids[nearest]]} == {"left eye", "right eye"}
    return "other_side" if is_partner else "other_keypoint"
  return "nearby" if distance(j) <= 2 * limit else "elsewhere"


def test_kinds_equal_slow_loops():
  batch = _batch()
  predictions = _guesses(batch)
  valid = episode.valid_queries(batch)
  wanted = [
    _slow_kind(batch, predictions, *place) for place in np.argwhere(valid).tolist()
  ]
  found = mistakes.kinds_of(batch, predictions, JUDGE)
  assert [mistakes.KINDS[kind] for kind in found] == wanted
  assert set(wanted) == set(mistakes.KINDS)  # every kind was met
  species = np.full(batch.query.images.shape, "cat")
  right = distances(batch, predictions, species).to_box <= JUDGE.threshold
  np.testing.assert_array_equal(found == 0, right)


def test_shares_are_those_of_pck_and_sum_to_one():
  batch = _batch()
  scores = EpisodeScores((0.1,), NAMES, judge=JUDGE)
  padded = episode.blank(_row(batch, 0))
  whole = episode.stack([*(_row(batch, i) for i in range(40)), padded])
  species = np.full(whole.query.images.shape, "cat")
  predictions = _guesses(batch)
  scores.add(whole, np.concatenate([predictions, predictions[:1]]), species)
  summary = scores.summary()
  found = summary["mistakes"]
  assert found["threshold"] == 0.1
  assert found["right"] == summary["pck"]["0.1"]
  assert sum(found[kind]["mean"] for kind in mistakes.KINDS) == pytest.approx(1)


def _row(batch, i):
  views = [episode.Views(*(x[i] for x in v)) for v in (batch.support, batch.query)]
  return episode.EpisodeBatch(*views, *(x[i] for x in batch[2:]))


def test_recovery_scales_all_distances():
  batch = _batch(b=1, m=1)
  own = batch.query.keypoints
  kinds = mistakes.kinds_of(batch, own + np.float32(0.01), JUDGE, recovery=1e6)
  assert (kinds == mistakes.KINDS.index("elsewhere")).all()


def test_random_points_have_no_other_side():
  batch = _batch()
  ids = np.where(batch.keypoint_ids == 0, 7, batch.keypoint_ids)  # past the vocabulary
  kinds = mistakes.kinds_of(batch._replace(keypoint_ids=ids), _guesses(batch), JUDGE)
  named = ids[:, None].repeat(3, 1)[episode.valid_queries(batch)]
  assert not (kinds[named == 7] == mistakes.KINDS.index("other_side")).any()


def test_nothing_valid_has_no_kinds():
  batch = _batch(b=2)
  hidden = batch.query._replace(visible=np.zeros_like(batch.query.visible))
  batch = batch._replace(query=hidden)
  assert len(mistakes.kinds_of(batch, _guesses(batch), JUDGE)) == 0
