"""Confidence intervals of means: t intervals, and the bootstrap over categories.

Episodes of one species resemble each other, so episodes of a few species carry less
information about species in general than the same number of independent ones. The
t-interval holds for the evaluated species, the bootstrap over categories for other
species like them.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

_BLOCK = 2**21
"""Numbers held in memory at once; results do not depend on it."""


class Interval(NamedTuple):
  """A mean and its confidence interval, as arrays of one shape.

  Attributes:
    mean: The mean over the items.
    low, high: The ends of the interval.
  """

  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray


def format_points(interval: Interval) -> str:
  """Formats a difference of fractions in percentage points, "+1.2 (+0.1 to +2.3)"."""
  mean, low, high = (100 * float(x) for x in interval)
  return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def t_half_width(means: Float[np.ndarray, " n"], level: float = 0.95) -> float | None:
  """Returns half the width of the t-interval of a mean; None for a single value."""
  count = len(means)
  if count < 2:
    return None
  quantile = special.stdtrit(count - 1, (1 + level) / 2)
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

  A resample draws as many categories as there are, with replacement, then from each
  drawn category as many episodes as it has, with replacement, and averages the items
  of the drawn episodes. The ends are percentiles of these averages. With one category
  this is the plain bootstrap over episodes. With C categories the variance between
  them is underestimated by a factor (C - 1) / C, so the interval is too narrow when
  there is only a handful.

  Args:
    values: float [e ...], one row per item; columns share the resamples. A nan means
      that the column lacks this item.
    category: [e], the category of the item; the same for all items of an episode.
    episode: [e], the episode that the item belongs to.
    seed: The seed of the resamples.
    resamples: The number of resamples.
    level: The level of the interval, in (0, 1).

  Returns:
    The mean over the items and its interval, each [...]. The ends are nan if all items
    belong to a single episode.

  Raises:
    ValueError: There are no items, the lengths differ, or an episode has two
      categories.
  """
  values = np.asarray(values, np.float64)
  if not len(values) or not len(values) == len(category) == len(episode):
    raise ValueError(
      f"{len(values)} values, {len(category)} categories and {len(episode)} episodes; "
      "expected one of each per item, and at least one item"
    )
  _, first, index = np.unique(episode, return_index=True, return_inverse=True)
  _, group = np.unique(category, return_inverse=True)
  group_of = group[first]
  mixed = np.flatnonzero(group_of[index] != group)
  if len(mixed):
    raise ValueError(f"episode {episode[mixed[0]]} has items of two categories")
  columns = values.reshape(len(values), -1)
  is_there = np.isfinite(columns)
  # A resample's mean is the ratio of two sums: the values, and their number.
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
  """Bootstraps the mean of b - a over paired items.

  Resamples as `category_episode_bootstrap`, with its arguments.

  Raises:
    ValueError: a and b differ in shape, or `category_episode_bootstrap` raises it.
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
  each with replacement. With three seeds the variance between seeds is underestimated
  by a factor of 2/3. Scores of nan (no valid keypoint) are ignored.
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
  """Draws how often each episode of a category occurs, [resamples count].

  A category drawn t times contributes t * count draws of its `count` episodes.
  """
  row = np.repeat(np.arange(len(times)), times * count)
  cell = row * count + rng.integers(count, size=len(row))
  drawn = np.bincount(cell, minlength=len(times) * count)
  return drawn.reshape(len(times), count).astype(np.float64)
