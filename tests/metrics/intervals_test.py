"""Intervals: against slow loops, against each other, and by how often they hold."""

import numpy as np
import pytest

from fskd_jax.metrics import intervals


def _slow(values, category, episode, seed, resamples):
  """Draws categories, then episodes, one by one."""
  rng, means = np.random.default_rng(seed), []
  names = sorted(set(category))
  episodes = {
    c: sorted({e for e, d in zip(episode, category) if c == d}) for c in names
  }
  items = {e: values[episode == e] for e in set(episode)}
  for _ in range(resamples):
    found = []
    for c in rng.choice(names, len(names)):
      for e in rng.choice(episodes[c], len(episodes[c])):
        found.extend(items[e])
    means.append(np.mean(found))
  return np.quantile(means, [0.025, 0.975])


@pytest.fixture
def items():
  """Items of 40 episodes of 6 categories, of unequal sizes, in no order."""
  rng = np.random.default_rng(3)
  category_of = rng.integers(6, size=40)
  episode = rng.integers(40, size=300)
  category = category_of[episode]
  values = rng.normal(size=300) + rng.normal(size=6)[category]
  return values, category, episode


def test_the_slow_loop_gives_the_same_interval(items):
  found = intervals.category_episode_bootstrap(*items, seed=1, resamples=20_000)
  low, high = _slow(*items, seed=2, resamples=4_000)
  width = high - low
  assert found.mean == pytest.approx(items[0].mean())
  assert abs(found.low - low) < 0.04 * width
  assert abs(found.high - high) < 0.04 * width


def test_columns_share_the_resamples(items):
  values, category, episode = items
  many = np.stack([values, 2 * values + 1], axis=1)
  both = intervals.category_episode_bootstrap(many, category, episode)
  one = intervals.category_episode_bootstrap(values, category, episode)
  for columns, value in zip(both, one):
    np.testing.assert_allclose(columns, [value, 2 * value + 1])


def test_items_that_a_column_lacks_take_no_part(items):
  values, category, episode = items
  lacks = episode % 3 == 0
  rare = np.where(episode == 5, values, np.nan)
  columns = np.stack([np.where(lacks, np.nan, values), rare, values], axis=1)
  found = intervals.category_episode_bootstrap(columns, category, episode)
  alone = [x[~lacks] for x in (values, category, episode)]
  few = intervals.category_episode_bootstrap(*alone)
  assert found.mean[0] == pytest.approx(few.mean)
  width = few.high - few.low
  assert abs(found.low[0] - few.low) < 0.1 * width
  assert abs(found.high[0] - few.high) < 0.1 * width
  assert found.mean[1] == pytest.approx(values[episode == 5].mean())
  assert np.isnan(found.low[1]) and np.isnan(found.high[1])
  whole = intervals.category_episode_bootstrap(values, category, episode)
  np.testing.assert_allclose([x[2] for x in found], whole)


def test_names_and_order_of_categories_and_episodes_may_be_anything(items):
  values, category, episode = items
  one = intervals.category_episode_bootstrap(values, category, episode)
  names = np.array(["ant", "bee", "cow", "dog", "elk", "fox"])[category]
  other = intervals.category_episode_bootstrap(
    values[::-1], names[::-1], (7 * episode + 100)[::-1]
  )
  np.testing.assert_allclose(one, other)


def test_with_one_category_it_agrees_with_the_t_interval():
  values = np.random.default_rng(0).normal(size=400)
  found = intervals.category_episode_bootstrap(
    values, np.zeros(400), np.arange(400), resamples=20_000
  )
  half = intervals.t_half_width(values)
  assert found.mean - found.low == pytest.approx(half, rel=0.03)
  assert found.high - found.mean == pytest.approx(half, rel=0.03)


def test_with_categories_that_differ_it_is_wider_than_the_t_interval():
  rng = np.random.default_rng(0)
  category = np.repeat(np.arange(20), 30)
  values = rng.normal(size=600) + rng.normal(size=20)[category]
  found = intervals.category_episode_bootstrap(values, category, np.arange(600))
  assert found.high - found.low > 2 * 2 * intervals.t_half_width(values)


def test_it_covers_the_truth_as_often_as_it_says():
  """20 categories drawn from many, with a mean of 0: the t-interval misses it."""
  rng = np.random.default_rng(5)
  category, covered, covered_by_t = np.repeat(np.arange(20), 10), 0, 0
  for trial in range(300):
    values = rng.normal(size=200) + rng.normal(size=20)[category]
    found = intervals.category_episode_bootstrap(
      values, category, np.arange(200), seed=trial, resamples=400
    )
    covered += found.low <= 0 <= found.high
    covered_by_t += abs(values.mean()) <= (intervals.t_half_width(values) or 0)
  assert 0.90 <= covered / 300 <= 0.97
  assert covered_by_t / 300 < 0.7


def test_pairs_cancel_what_both_have_in_common(items):
  values, category, episode = items
  noise = np.random.default_rng(1).normal(size=300) / 100
  found = intervals.paired_bootstrap(values, values + 0.5 + noise, category, episode)
  assert found.low < 0.5 < found.high and found.high - found.low < 0.01
  alone = intervals.category_episode_bootstrap(values, category, episode)
  assert alone.high - alone.low > 0.5


def test_one_episode_has_no_interval():
  assert intervals.t_half_width(np.ones(1)) is None
  found = intervals.category_episode_bootstrap(np.arange(3), np.zeros(3), np.zeros(3))
  assert found.mean == 1 and np.isnan(found.low) and np.isnan(found.high)


def test_wrong_input_is_named():
  with pytest.raises(ValueError, match="2 values, 3 categories and 2 episodes"):
    intervals.category_episode_bootstrap(np.ones(2), np.ones(3), np.ones(2))
  with pytest.raises(ValueError, match="0 values"):
    intervals.category_episode_bootstrap(np.ones(0), np.ones(0), np.ones(0))
  with pytest.raises(ValueError, match="episode 4 has items of two categories"):
    intervals.category_episode_bootstrap(
      np.ones(3), np.array(["a", "a", "b"]), np.array([3, 4, 4])
    )
  with pytest.raises(ValueError, match=r"shapes \(3,\) and \(2,\) are not pairs"):
    intervals.paired_bootstrap(np.ones(3), np.ones(2), np.ones(3), np.ones(3))


def test_the_crossed_bootstrap_draws_seeds_and_episodes():
  rng = np.random.default_rng(1)
  scores = rng.random((3, 50))
  scores[1, 7] = np.nan
  interval = intervals.crossed_bootstrap(scores, resamples=20_000)
  slow, draws = np.random.default_rng(2), []
  for _ in range(4000):
    rows, columns = slow.integers(3, size=3), slow.integers(50, size=50)
    draws.append(np.nanmean(scores[np.ix_(rows, columns)]))
  np.testing.assert_allclose(interval.mean, np.nanmean(scores))
  np.testing.assert_allclose(
    [interval.low, interval.high], np.quantile(draws, [0.025, 0.975]), atol=0.01
  )
