"""Confidence intervals of means: t intervals, and the bootstrap over categories.

Episodes of one species resemble each other, so that episodes of a few species say less
of species in general than as many independent ones would. The t-interval speaks of
these species; the bootstrap over categories speaks of others like them.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

_BLOCK = 2**21
"""Numbers held at once; only memory depends on it."""


class Interval(NamedTuple):
  """A mean and where it may lie; arrays of one shape.

  Attributes:
    mean: of the items.
    low, high: ends of the interval.
  """

  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray


def format_points(interval: Interval) -> str:
  """Formats a difference of parts of 1 in points, "+1.2 (+0.1 to +2.3)"."""
  mean, low, high = (100 * float(x) for x in interval)
  return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def t_half_width(means: Float[np.ndarray, " n"], level: float = 0.95) -> float | None:
  """Returns half the width of the t-interval of independent values; None for one."""
  count = len(means)
  if count < 2:
    return None
  quantile = stats.t.ppf((1 + level) / 2, count - 1)
  return float(quantile * means.std(ddof=1) / math.sqrt(count))


def category_episode_bootstrap(
  values: np.ndarray,
  category: np.ndarray,
  episode: np.ndarray,
  *,
  seed: int = 0,
  resamples: int = 2000,
  level: float = 0.95,
) -> Interval:
  """Bootstraps the mean of items: categories, then episodes within each.

  A resample draws as many categories as there are, with replacement, and from each
  drawn one as many of its episodes as it has, with replacement; its mean is over the
  items of the drawn episodes. The interval is of percentiles. With one category it is
  the plain bootstrap over episodes. Of C categories, the spread between them comes out
  (C - 1) / C of what it is, so that with a handful the interval is too narrow.

  Args:
    values: float [e ...], a row for each item; columns share the resamples. Where a
      column is nan, it has no such item.
    category: [e], of the item; all items of an episode have the same.
    episode: [e], which episode the item belongs to.
    seed: of the resamples.
    resamples: how many.
    level: of the interval, in (0, 1).

  Returns:
    The mean over the items and its interval, each [...]. With items of a single
    episode the ends are nan.

  Raises:
    ValueError: no items, lengths that differ, or an episode of two categories.
  """
  values = np.asarray(values, np.float64)
  if not len(values) or not len(values) == len(category) == len(episode):
    raise ValueError(
      f"{len(values)} values, {len(category)} categories and {len(episode)} episodes; "
      "expected one of each per item, and an item at least"
    )
  _, first, index = np.unique(episode, return_index=True, return_inverse=True)
  _, group = np.unique(category, return_inverse=True)
  group_of = group[first]
  mixed = np.flatnonzero(group_of[index] != group)
  if len(mixed):
    raise ValueError(f"episode {episode[mixed[0]]} has items of two categories")
  columns = values.reshape(len(values), -1)
  is_there = np.isfinite(columns)
  # A mean of items is a ratio of two sums: of values, and of how many they are.
  totals = np.zeros((len(first), 2 * columns.shape[1]))
  np.add.at(totals, index, np.c_[np.where(is_there, columns, 0), is_there])

  drawn = np.zeros((resamples, totals.shape[1]))
  rng = np.random.default_rng(seed)
  num_groups = int(group_of.max()) + 1
  times = rng.multinomial(num_groups, np.ones(num_groups) / num_groups, resamples)
  for number in range(num_groups):
    members = totals[group_of == number]
    block = max(1, _BLOCK // len(members))
    for start in range(0, resamples, block):
      rows = slice(start, start + block)
      drawn[rows] += _draws(rng, times[rows, number], len(members)) @ members
  sums, counts = np.split(np.concatenate([totals.sum(0)[None], drawn]), 2, axis=1)
  with np.errstate(invalid="ignore"):
    mean, *means = sums / counts
  ends = np.full((2, columns.shape[1]), np.nan)
  several = (totals[:, columns.shape[1] :] > 0).sum(0) > 1
  # A resample may lack the items of a rare column.
  ends[:, several] = np.nanquantile(
    np.stack(means)[:, several], [(1 - level) / 2, (1 + level) / 2], axis=0
  )
  return Interval(*(x.reshape(values.shape[1:]) for x in (mean, *ends)))


def paired_bootstrap(
  a: np.ndarray,
  b: np.ndarray,
  category: np.ndarray,
  episode: np.ndarray,
  *,
  seed: int = 0,
  resamples: int = 2000,
  level: float = 0.95,
) -> Interval:
  """Bootstraps the mean of b - a over the same items; see the function above.

  Raises:
    ValueError: a and b differ in shape; or as above.
  """
  if np.shape(a) != np.shape(b):
    raise ValueError(f"values of shapes {np.shape(a)} and {np.shape(b)} are not pairs")
  differences = np.asarray(b, np.float64) - np.asarray(a, np.float64)
  return category_episode_bootstrap(
    differences, category, episode, seed=seed, resamples=resamples, level=level
  )


def crossed_bootstrap(
  scores: Float[np.ndarray, "s e"],
  *,
  seed: int = 0,
  resamples: int = 4000,
  level: float = 0.95,
) -> Interval:
  """Bootstraps a mean over training seeds and, crossed with them, episodes.

  All seeds are scored on the same episodes, so a resample draws seeds and episodes,
  each with replacement. With three seeds the variance between them comes out 2/3 of
  what it is. Scores of nan (no valid keypoint) count nowhere.
  """
  rng = np.random.default_rng(seed)
  is_there = np.isfinite(scores)
  seeds, episodes = (
    rng.multinomial(n, np.ones(n) / n, resamples).astype(float) for n in scores.shape
  )
  total, count = (
    (seeds @ matrix * episodes).sum(1)
    for matrix in (np.where(is_there, scores, 0.0), is_there.astype(float))
  )
  low, high = np.quantile(total / count, [(1 - level) / 2, (1 + level) / 2])
  return Interval(np.asarray(np.nanmean(scores)), low, high)


def _draws(rng: np.random.Generator, times: np.ndarray, count: int) -> np.ndarray:
  """Says how often each of a category's episodes is drawn, [resamples count].

  Drawing the category t times, and `count` episodes each time, is t * count draws.
  """
  row = np.repeat(np.arange(len(times)), times * count)
  cell = row * count + rng.integers(count, size=len(row))
  drawn = np.bincount(cell, minlength=len(times) * count)
  return drawn.reshape(len(times), count).astype(np.float64)
