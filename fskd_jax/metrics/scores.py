"""Scores over episodes: PCK, normalised error, AUC.

All is NumPy on the host, in pixels of the original images. Every average is taken
within an episode first and then over the episodes, with its 95 % t-interval and the
bootstrap over species and their episodes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fskd_jax import geometry
from fskd_jax.episode import PADDING, EpisodeBatch, valid_queries
from fskd_jax.metrics import intervals

AUC_LIMIT = 0.2
"""The AUC is the area under the PCK curve from 0 to here, divided by this."""


def recovery_scale(protocol: str, image_size: int) -> float:
  """Returns the factor that a protocol puts on all distances: exactly 1 for ours.

  The original divides by the side L of its input going to normalised coordinates, and
  multiplies by L - 1 coming back, with predictions and annotations alike.

  Source: docs/algorithm.md#recovery-of-pixels.
  """
  return (image_size - 1) / image_size if protocol == "reference" else 1.0


class Distances(NamedTuple):
  """One entry per valid query keypoint, all arrays of one length.

  Attributes:
    to_box: distance over the longer side of the instance's box.
    to_image: distance over the longer side of the original image.
    episode: number of the episode.
    keypoint: id of the keypoint type.
    species: name of the species in the query image.
  """

  to_box: np.ndarray
  to_image: np.ndarray
  episode: np.ndarray
  keypoint: np.ndarray
  species: np.ndarray


def distances(
  batch: EpisodeBatch,
  predictions: np.ndarray,
  species: np.ndarray,
  recovery: float = 1.0,
) -> Distances:
  """Measures predictions in original pixels.

  Args:
    batch: NumPy arrays.
    predictions: float [b m n 2], pixels of the network's input.
    species: str [b m], of the instance in each query image.
    recovery: of `recovery_scale`.

  Raises:
    ValueError: the shapes do not fit together, or a valid query has an empty box.
  """
  query, valid = batch.query, np.asarray(valid_queries(batch))
  wanted = (query.keypoints.shape, valid.shape[:2])
  if (predictions.shape, np.shape(species)) != wanted:
    came = (predictions.shape, np.shape(species))
    raise ValueError(f"predictions and species have shapes {came}, expected {wanted}")
  offsets = geometry.apply_affine(
    query.to_original.astype(np.float64), predictions
  ) - geometry.apply_affine(query.to_original.astype(np.float64), query.keypoints)
  errors = np.hypot(offsets[..., 0], offsets[..., 1]) * recovery
  box_side = query.box[..., 2:].max(-1)
  if (box_side[valid.any(-1)] <= 0).any():
    raise ValueError("a query instance with visible keypoints has an empty box")
  with np.errstate(divide="ignore", invalid="ignore"):
    to_box = errors / box_side[..., None]
    to_image = errors / query.image_size.max(-1)[..., None]
  episode, image, slot = np.nonzero(valid)
  return Distances(
    to_box=to_box[valid],
    to_image=to_image[valid],
    episode=episode,
    keypoint=np.asarray(batch.keypoint_ids)[episode, slot],
    species=np.asarray(species)[episode, image],
  )


class EpisodeScores:
  """Collects episodes batch by batch; `summary` scores them."""

  def __init__(
    self,
    thresholds: Sequence[float],
    keypoint_names: Sequence[str],
    recovery: float = 1.0,
  ):
    """Prepares an empty collection.

    Args:
      thresholds: of PCK, parts of the longer box side.
      keypoint_names: of the data set's types, indexed by their id.
      recovery: of `recovery_scale`.
    """
    self._recovery = recovery
    self._thresholds = tuple(thresholds)
    self._names = tuple(keypoint_names)
    self._parts: list[Distances] = []
    self._num_episodes = 0

  def add(self, batch: EpisodeBatch, predictions: np.ndarray, species: np.ndarray):
    """Adds a batch; padded episodes are left out. Arguments as of `distances`."""
    part = distances(batch, predictions, species, self._recovery)
    is_real = np.asarray(batch.episode_index) != PADDING
    number = self._num_episodes + np.cumsum(is_real) - 1
    self._parts.append(part._replace(episode=number[part.episode]))
    self._num_episodes += int(is_real.sum())

  def per_episode(self) -> dict[str, Any]:
    """Returns the scores of each added episode, as lists ready for JSON.

    Returns:
      "pck" by threshold, "ne", "auc", and "per_keypoint": by name the PCK by threshold
      of one keypoint type. Each list has an entry per episode, rounded to six digits;
      None without a valid keypoint. Their mean is that of `summary`.
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
      "episodes" with a valid keypoint (only they count), "keypoints" (how many);
      "pck" and "pck_micro" by threshold (over all keypoints, unlike "pck"), "ne",
      "auc"; "per_keypoint" and "per_species": by name, "pck" and "count". A mean
      is as of `episode_mean`.

    Raises:
      ValueError: no episode had a valid keypoint.

    Source: docs/algorithm.md#metrics.
    """
    entries = self._entries()
    counts = {
      "episodes": len(np.unique(entries.episode)),
      "keypoints": len(entries.episode),
    }
    return counts | summarize(entries, self._thresholds, self._names)

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
  """Scores distances; the fields of `EpisodeScores.summary` from "pck" on.

  Args:
    entries: at least one.
    thresholds: of PCK, parts of the longer box side.
    keypoint_names: indexed by the ids in `entries`.
  """
  limits = [f"{t:g}" for t in thresholds]
  hits = entries.to_box[:, None] <= np.array(thresholds)
  _, first, episode = np.unique(entries.episode, return_index=True, return_inverse=True)
  category = _categories(entries)[first]

  def table(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return _episode_means(values[chosen], episode[chosen], len(first))

  def group(means: list[dict[str, Any]], chosen: np.ndarray) -> dict[str, Any]:
    return {"pck": dict(zip(limits, means)), "count": int(chosen.sum())}

  every = np.ones(len(episode), bool)
  types = {
    keypoint_names[i]: entries.keypoint == i for i in np.unique(entries.keypoint)
  }
  kinds = {str(name): entries.species == name for name in np.unique(entries.species)}
  # One set of resamples serves all but the species, which need some of their own.
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
  """Averages values within each episode, then over the episodes, of one category.

  Args:
    values: [e], at least one.
    episode: int [e], which episode a value belongs to.

  Returns:
    "mean"; "ci95", the half width of the 95 % t-interval over the episodes; and
    "bootstrap95", [low, high] of `intervals.category_episode_bootstrap`. Both are None
    for a single episode.
  """
  names, index = np.unique(episode, return_inverse=True)
  return _means(_episode_means(values[:, None], index, len(names)))[0]


def _episode_means(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
  """Averages values [e c] within each of `count` episodes, [count c]; nan for none."""
  sums = [np.bincount(index, column, count) for column in values.T]
  with np.errstate(invalid="ignore"):
    return np.stack(sums, 1) / np.bincount(index, minlength=count)[:, None]


def _means(
  table: np.ndarray, category: np.ndarray | None = None
) -> list[dict[str, Any]]:
  """Averages columns over the episodes that have a value, as of `episode_mean`.

  Args:
    table: [episodes c], nan without a value.
    category: [episodes]; None: all are of one.
  """
  if category is None:  # episodes of other categories take no part
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
  """Returns the area under the PCK curve of each entry, a step function."""
  return np.clip(1 - entries.to_box / AUC_LIMIT, 0, None)


def _categories(entries: Distances) -> np.ndarray:
  """Returns the species of each entry's episode; one for all where episodes mix."""
  _, first, index = np.unique(entries.episode, return_index=True, return_inverse=True)
  is_mixed = (entries.species != entries.species[first][index]).any()
  return np.zeros(len(index)) if is_mixed else entries.species
