"""Decoding of heat-maps, and scores over episodes: PCK, normalised error, AUC.

`decode` runs on the device; all else is NumPy on the host, in pixels of the
original images. Every average is taken within an episode first and then over the
episodes, with its 95 % t-interval.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from fskd_jax import geometry
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

  def episode_pck(self, threshold: float) -> np.ndarray:
    """Returns each added episode's PCK, [episodes]; nan without a valid keypoint."""
    correct, total = np.zeros((2, self._num_episodes))
    for part in self._parts:
      np.add.at(correct, part.episode, part.to_box <= threshold)
      np.add.at(total, part.episode, 1)
    with np.errstate(invalid="ignore"):
      return correct / total

  def summary(self) -> dict[str, Any]:
    """Scores everything added so far, as plain numbers ready for JSON.

    Returns:
      "episodes" with a valid keypoint (only they count), "keypoints" (how many);
      "pck" and "pck_micro" by threshold (over all keypoints, unlike "pck"), "ne",
      "auc"; "per_keypoint" and "per_species": by name, "pck" and "count". A mean
      is {"mean": .., "ci95": half width, None for a single episode}.

    Raises:
      ValueError: no episode had a valid keypoint.

    Source: spec/fskd.md section 7.
    """
    parts = [part for part in self._parts if len(part.episode)]
    if not parts:
      raise ValueError(
        f"none of {self._num_episodes} episodes has a valid query keypoint"
      )
    entries = Distances(*(np.concatenate(field) for field in zip(*parts)))
    counts = {
      "episodes": len(np.unique(entries.episode)),
      "keypoints": len(entries.episode),
    }
    return counts | summarize(entries, self._thresholds, self._names)


def summarize(
  entries: Distances, thresholds: Sequence[float], keypoint_names: Sequence[str]
) -> dict[str, Any]:
  """Scores distances; the fields of `EpisodeScores.summary` from "pck" on.

  Args:
    entries: at least one.
    thresholds: of PCK, parts of the longer box side.
    keypoint_names: indexed by the ids in `entries`.
  """

  def pck(chosen: Distances) -> dict[str, Any]:
    return {
      f"{t:g}": episode_mean(chosen.to_box <= t, chosen.episode) for t in thresholds
    }

  def group(chosen: np.ndarray) -> dict[str, Any]:
    members = Distances(*(field[chosen] for field in entries))
    return {"pck": pck(members), "count": int(chosen.sum())}

  area = np.clip(1 - entries.to_box / AUC_LIMIT, 0, None)  # of one step function
  return {
    "pck": pck(entries),
    "pck_micro": {f"{t:g}": float((entries.to_box <= t).mean()) for t in thresholds},
    "ne": episode_mean(entries.to_image, entries.episode),
    "auc": episode_mean(area, entries.episode),
    "per_keypoint": {
      keypoint_names[i]: group(entries.keypoint == i)
      for i in np.unique(entries.keypoint)
    },
    "per_species": {
      str(name): group(entries.species == name) for name in np.unique(entries.species)
    },
  }


def episode_mean(values: np.ndarray, episode: np.ndarray) -> dict[str, float | None]:
  """Averages values within each episode, then over the episodes.

  Args:
    values: [e], at least one.
    episode: int [e], which episode a value belongs to.

  Returns:
    {"mean": .., "ci95": ..}, the half width of the 95 % t-interval over the
    episodes; None for a single episode.
  """
  _, index, counts = np.unique(episode, return_inverse=True, return_counts=True)
  means = np.bincount(index, weights=values) / counts
  count = len(means)
  if count < 2:
    return {"mean": float(means.mean()), "ci95": None}
  half = stats.t.ppf(0.975, count - 1) * means.std(ddof=1) / math.sqrt(count)
  return {"mean": float(means.mean()), "ci95": float(half)}
