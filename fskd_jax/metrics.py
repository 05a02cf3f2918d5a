"""Decoding of heat-maps, and scores over episodes: PCK, normalised error, AUC.

`decode` runs on the device; all else is NumPy on the host, in pixels of the
original images. Every average is taken within an episode first and then over the
episodes, with its 95 % t-interval and the bootstrap over species and their episodes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax import geometry, intervals
from fskd_jax.episode import PADDING, EpisodeBatch, valid_queries

AUC_LIMIT = 0.2
"""The AUC is the area under the PCK curve from 0 to here, divided by this."""


def decode(heatmaps: Float[Array, "... h w"], stride: float) -> Float[Array, "... 2"]:
  """Returns the centre of the highest cell, in pixels of the network's input.

  Args:
    heatmaps: any float.
    stride: of the heat-maps, pixels per cell.

  Source: spec/fskd.md section 4.8, without its shift of half a pixel.
  """
  height, width = heatmaps.shape[-2:]
  index = heatmaps.reshape(*heatmaps.shape[:-2], height * width).argmax(-1)
  cells = jnp.stack([index % width, index // width], axis=-1).astype(jnp.float32)
  return geometry.grid_to_pixels(cells, jnp.float32(stride))


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
  batch: EpisodeBatch, predictions: np.ndarray, species: np.ndarray
) -> Distances:
  """Measures predictions in original pixels.

  Args:
    batch: NumPy arrays.
    predictions: float [b m n 2], pixels of the network's input.
    species: str [b m], of the instance in each query image.

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
  errors = np.hypot(offsets[..., 0], offsets[..., 1])
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

  def __init__(self, thresholds: Sequence[float], keypoint_names: Sequence[str]):
    """Prepares an empty collection.

    Args:
      thresholds: of PCK, parts of the longer box side.
      keypoint_names: of the data set's types, indexed by their id.
    """
    self._thresholds = tuple(thresholds)
    self._names = tuple(keypoint_names)
    self._parts: list[Distances] = []
    self._num_episodes = 0

  def add(self, batch: EpisodeBatch, predictions: np.ndarray, species: np.ndarray):
    """Adds a batch; padded episodes are left out. Arguments as of `distances`."""
    part = distances(batch, predictions, species)
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

    def means(values: np.ndarray, chosen: np.ndarray) -> list[float | None]:
      episode = entries.episode[chosen]
      total = np.bincount(episode, values[chosen], self._num_episodes)
      count = np.bincount(episode, minlength=self._num_episodes)
      return [round(s / n, 6) if n else None for s, n in zip(total.tolist(), count)]

    def pck(chosen: np.ndarray) -> dict[str, list[float | None]]:
      limits = self._thresholds
      return {f"{t:g}": means(entries.to_box <= t, chosen) for t in limits}

    every = np.ones(len(entries.episode), bool)
    return {
      "pck": pck(every),
      "ne": means(entries.to_image, every),
      "auc": means(_auc(entries), every),
      "per_keypoint": {
        self._names[i]: pck(entries.keypoint == i) for i in np.unique(entries.keypoint)
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

    Source: spec/fskd.md section 7.
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
  category = _categories(entries)

  def mean(values: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    return episode_mean(values[chosen], entries.episode[chosen], category[chosen])

  def pck(chosen: np.ndarray) -> dict[str, Any]:
    return {f"{t:g}": mean(entries.to_box <= t, chosen) for t in thresholds}

  def group(chosen: np.ndarray) -> dict[str, Any]:
    return {"pck": pck(chosen), "count": int(chosen.sum())}

  every = np.ones(len(entries.episode), bool)
  return {
    "pck": pck(every),
    "pck_micro": {f"{t:g}": float((entries.to_box <= t).mean()) for t in thresholds},
    "ne": mean(entries.to_image, every),
    "auc": mean(_auc(entries), every),
    "per_keypoint": {
      keypoint_names[i]: group(entries.keypoint == i)
      for i in np.unique(entries.keypoint)
    },
    "per_species": {
      str(name): group(entries.species == name) for name in np.unique(entries.species)
    },
  }


def episode_mean(
  values: np.ndarray, episode: np.ndarray, category: np.ndarray | None = None
) -> dict[str, Any]:
  """Averages values within each episode, then over the episodes.

  Args:
    values: [e], at least one.
    episode: int [e], which episode a value belongs to.
    category: [e], of the episode; None: all are of one.

  Returns:
    "mean"; "ci95", the half width of the 95 % t-interval over the episodes; and
    "bootstrap95", [low, high] of `intervals.category_episode_bootstrap`. Both are None
    for a single episode.
  """
  names, first, index = np.unique(episode, return_index=True, return_inverse=True)
  means = np.bincount(index, weights=values) / np.bincount(index)
  groups = np.zeros(len(names)) if category is None else category[first]
  found = intervals.category_episode_bootstrap(means, groups, names)
  return {
    "mean": float(means.mean()),
    "ci95": intervals.t_half_width(means),
    "bootstrap95": [float(found.low), float(found.high)] if len(names) > 1 else None,
  }


def _auc(entries: Distances) -> np.ndarray:
  """Returns the area under the PCK curve of each entry, a step function."""
  return np.clip(1 - entries.to_box / AUC_LIMIT, 0, None)


def _categories(entries: Distances) -> np.ndarray:
  """Returns the species of each entry's episode; one for all where episodes mix."""
  _, first, index = np.unique(entries.episode, return_index=True, return_inverse=True)
  is_mixed = (entries.species != entries.species[first][index]).any()
  return np.zeros(len(index)) if is_mixed else entries.species
