"""Scores over episodes: PCK, normalised error, AUC.

Everything is NumPy on the host. Every average is taken within each episode first and
then over the episodes, with its 95 % t-interval and the bootstrap over species and
their episodes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fskd_jax.episode import PADDING, EpisodeBatch
from fskd_jax.metrics import intervals, mistakes
from fskd_jax.metrics.distances import Distances, distances
from fskd_jax.metrics.mistakes import Judge

AUC_LIMIT = 0.2
"""Upper end of the PCK thresholds whose area, divided by this, is the AUC."""


class EpisodeScores:
  """Collects episodes batch by batch and scores them (`summary`)."""

  def __init__(
    self,
    thresholds: Sequence[float],
    keypoint_names: Sequence[str],
    recovery: float = 1.0,
    judge: Judge | None = None,
  ):
    """Creates an empty collection.

    Args:
      thresholds: The thresholds of PCK, as fractions of the longer box side.
      keypoint_names: The names of the data set's types, indexed by their id.
      recovery: The factor on all distances, as returned by `recovery_scale`.
      judge: The judge of wrong places; None leaves "mistakes" out.
    """
    self._recovery, self._judge = recovery, judge
    self._kinds: list[np.ndarray] = []
    self._thresholds = tuple(thresholds)
    self._names = tuple(keypoint_names)
    self._parts: list[Distances] = []
    self._num_episodes = 0

  def add(self, batch: EpisodeBatch, predictions: np.ndarray, species: np.ndarray):
    """Adds a batch, without padded episodes; the arguments are those of `distances`."""
    part = distances(batch, predictions, species, self._recovery)
    is_real = np.asarray(batch.episode_index) != PADDING
    number = self._num_episodes + np.cumsum(is_real) - 1
    self._parts.append(part._replace(episode=number[part.episode]))
    self._num_episodes += int(is_real.sum())
    if self._judge:
      self._kinds.append(
        mistakes.kinds_of(batch, predictions, self._judge, self._recovery)
      )

  def per_episode(self) -> dict[str, Any]:
    """Returns the scores of each added episode, as lists ready for JSON.

    Returns:
      "pck" by threshold, "ne", "auc", and "per_keypoint", the PCK by threshold of each
      keypoint type by name. Each list has one entry per episode, rounded to six
      digits, or None without a valid keypoint. Their mean is the one in `summary`.
    """
    entries = self._entries()

    def columns(values: np.ndarray, chosen: np.ndarray) -> list[list[float | None]]:
      episode = entries.episode[chosen]
      table = _episode_means(values[chosen], episode, self._num_episodes)
      return [
        [None if np.isnan(x) else round(x, 6) for x in column]
        for column in table.T.tolist()
      ]

    every = np.ones(len(entries.episode), bool)
    limits = [f"{t:g}" for t in self._thresholds]
    hits = entries.to_box[:, None] <= np.array(self._thresholds)
    ne, auc = columns(np.c_[entries.to_image, _auc(entries)], every)
    return {
      "pck": dict(zip(limits, columns(hits, every))),
      "ne": ne,
      "auc": auc,
      "per_keypoint": {
        self._names[i]: dict(zip(limits, columns(hits, entries.keypoint == i)))
        for i in np.unique(entries.keypoint)
      },
    }

  def summary(self) -> dict[str, Any]:
    """Scores everything added so far, as plain numbers ready for JSON.

    Returns:
      "episodes", the number of those with a valid keypoint (only they count);
      "keypoints", the number of valid ones; "pck" by threshold, and "pck_micro", which
      averages over all keypoints at once; "ne" and "auc"; "per_keypoint" and
      "per_species", with "pck" and "count" by name; with a judge "mistakes", the
      "threshold" and the share of each of `mistakes.KINDS`. `episode_mean` describes a
      mean.

    Raises:
      ValueError: No episode had a valid keypoint.

    Source: docs/algorithm.md#metrics.
    """
    entries = self._entries()
    counts = {
      "episodes": len(np.unique(entries.episode)),
      "keypoints": len(entries.episode),
    }
    found = counts | summarize(entries, self._thresholds, self._names)
    return found | ({"mistakes": self._mistakes(entries)} if self._judge else {})

  def _mistakes(self, entries: Distances) -> dict[str, Any]:
    is_kind = np.concatenate(self._kinds)[:, None] == np.arange(len(mistakes.KINDS))
    episode, category = _by_episode(entries)
    means = _means(_episode_means(is_kind, episode, len(category)), category)
    assert self._judge
    return {"threshold": self._judge.threshold} | dict(zip(mistakes.KINDS, means))

  def _entries(self) -> Distances:
    parts = [part for part in self._parts if len(part.episode)]
    if not parts:
      raise ValueError(
        f"none of {self._num_episodes} episodes has a valid query keypoint"
      )
    return Distances(*(np.concatenate(field) for field in zip(*parts)))


def summarize(
  entries: Distances, thresholds: Sequence[float], keypoint_names: Sequence[str]
) -> dict[str, Any]:
  """Returns the fields of `EpisodeScores.summary` from "pck" on.

  Args:
    entries: The distances, at least one.
    thresholds: The thresholds of PCK, as fractions of the longer box side.
    keypoint_names: The names, indexed by the ids in `entries`.
  """
  limits = [f"{t:g}" for t in thresholds]
  hits = entries.to_box[:, None] <= np.array(thresholds)
  episode, category = _by_episode(entries)

  def table(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return _episode_means(values[chosen], episode[chosen], len(category))

  def group(means: list[dict[str, Any]], chosen: np.ndarray) -> dict[str, Any]:
    return {"pck": dict(zip(limits, means)), "count": int(chosen.sum())}

  every = np.ones(len(episode), bool)
  types = {
    keypoint_names[i]: entries.keypoint == i for i in np.unique(entries.keypoint)
  }
  kinds = {str(name): entries.species == name for name in np.unique(entries.species)}
  # All means share one set of resamples, except the species, which need their own.
  whole = np.c_[hits, entries.to_image, _auc(entries)]
  tables = [table(whole, every), *(table(hits, chosen) for chosen in types.values())]
  means = _means(np.concatenate(tables, axis=1), category)
  head, rest = means[: len(limits)], means[len(limits) + 2 :]
  ne, auc = means[len(limits) : len(limits) + 2]
  return {
    "pck": dict(zip(limits, head)),
    "pck_micro": dict(zip(limits, hits.mean(0).tolist())),
    "ne": ne,
    "auc": auc,
    "per_keypoint": {
      name: group(rest[place * len(limits) :], chosen)
      for place, (name, chosen) in enumerate(types.items())
    },
    "per_species": {
      name: group(_means(table(hits, chosen)), chosen) for name, chosen in kinds.items()
    },
  }


def episode_mean(values: np.ndarray, episode: np.ndarray) -> dict[str, Any]:
  """Averages values within each episode, then over the episodes of one category.

  Args:
    values: [e], at least one.
    episode: int [e], the episode that a value belongs to.

  Returns:
    "mean"; "ci95", half the width of the 95 % t-interval over the episodes; and
    "bootstrap95", the ends [low, high] of `intervals.category_episode_bootstrap`. Both
    are None for a single episode.
  """
  names, index = np.unique(episode, return_inverse=True)
  return _means(_episode_means(values[:, None], index, len(names)))[0]


def _episode_means(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
  """Averages values [e c] in each of `count` episodes, [count c]; nan if empty."""
  sums = [np.bincount(index, column, count) for column in values.T]
  with np.errstate(invalid="ignore"):
    return np.stack(sums, 1) / np.bincount(index, minlength=count)[:, None]


def _means(
  table: np.ndarray, category: np.ndarray | None = None
) -> list[dict[str, Any]]:
  """Averages each column over the episodes that have a value; see `episode_mean`.

  Args:
    table: [episodes c], nan where an episode has no value.
    category: [episodes]; None if all episodes are of one category.
  """
  if category is None:  # the rows of other species are nan
    table = table[np.isfinite(table).any(1)]
    category = np.zeros(len(table))
  found = intervals.category_episode_bootstrap(table, category, np.arange(len(table)))
  halves = [intervals.t_half_width(column[np.isfinite(column)]) for column in table.T]
  return [
    {
      "mean": float(mean),
      "ci95": half,
      "bootstrap95": None if half is None else [float(low), float(high)],
    }
    for mean, low, high, half in zip(*found, halves)
  ]


def _auc(entries: Distances) -> np.ndarray:
  """Returns the area under the PCK curve of each entry, which is a step function."""
  return np.clip(1 - entries.to_box / AUC_LIMIT, 0, None)


def _by_episode(entries: Distances) -> tuple[np.ndarray, np.ndarray]:
  """Returns each entry's place among the scored episodes, and each one's category.

  That is its species, or one category for all if episodes mix species.
  """
  _, first, index = np.unique(entries.episode, return_index=True, return_inverse=True)
  category = entries.species[first]
  is_mixed = (entries.species != category[index]).any()
  return index, np.zeros(len(first)) if is_mixed else category
