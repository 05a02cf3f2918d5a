"""Metrics of MP-100: means over the keypoints of a pair, then over the pairs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fskd_jax.metrics.intervals import category_episode_bootstrap, t_half_width

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25)
AUC_STEPS = 20


class Pairs(NamedTuple):
  """Predictions of p pairs (support, query).

  Attributes:
    distances: The distances to the annotation, pixels of the original image.
    valid: Whether each keypoint is visible in the query and in every support image.
    size: The longer side of each query's cleaned box, pixels.
    category: The name of each pair's category.
    episode: The number of each pair's episode; its queries share their support.
  """

  distances: Float[np.ndarray, "p n"]
  valid: Bool[np.ndarray, "p n"]
  size: Float[np.ndarray, " p"]
  category: np.ndarray
  episode: Int[np.ndarray, " p"]


def pck(pairs: Pairs, threshold: float) -> Float[np.ndarray, " p"]:
  """Returns each pair's fraction of keypoints strictly nearer than the threshold.

  A pair without a valid keypoint scores 0.
  """
  return _pair_mean(pairs, pairs.distances / pairs.size[:, None] < threshold)


def auc(pairs: Pairs) -> Float[np.ndarray, " p"]:
  """Returns each pair's mean PCK at 0.00, 0.05 .. 0.95, whose maximum is 0.95."""
  return np.stack([pck(pairs, i / AUC_STEPS) for i in range(AUC_STEPS)]).mean(0)


def nme(pairs: Pairs) -> Float[np.ndarray, " p"]:
  """Returns each pair's mean distance over the longer side of the query's box."""
  return _pair_mean(pairs, pairs.distances / pairs.size[:, None])


def per_episode(pairs: Pairs) -> dict[str, Any]:
  """Returns each episode's mean over its pairs, for `fskd compare-runs`.

  The format is that of `EpisodeScores.per_episode`, without keypoint types, which
  differ between categories. All episodes have the same number of pairs, so that the
  mean over them equals that of `summary`.
  """

  def means(values: np.ndarray) -> list[float]:
    return np.round(
      np.bincount(pairs.episode, values) / np.bincount(pairs.episode), 6
    ).tolist()

  return {
    "pck": {f"{t:g}": means(pck(pairs, t)) for t in THRESHOLDS},
    "ne": means(nme(pairs)),
    "auc": means(auc(pairs)),
    "per_keypoint": {},
  }


def summary(
  pairs: Pairs, keypoint_names: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
  """Scores all pairs.

  Returns:
    "pairs", "empty_pairs" (which score 0 in all metrics, as in the reference, so that
    they lower PCK and also NME and EPE), "pck" by threshold, "mpck" (mean of the five)
    and "mpck_to_0.2" (of the first four), "auc", "nme", "epe" (pixels); for each
    category, PCK and the PCK at 0.2 and count of each keypoint. A mean is {"mean",
    "ci95": half width of the t-interval over the pairs, "bootstrap95": interval over
    categories and their episodes}.
  """
  scores = {f"{t:g}": pck(pairs, t) for t in THRESHOLDS}
  by_threshold = np.stack(list(scores.values()))
  columns = {
    **{f"pck {name}": values for name, values in scores.items()},
    "mpck": by_threshold.mean(0),
    "mpck_to_0.2": by_threshold[:4].mean(0),
    "auc": auc(pairs),
    "nme": nme(pairs),
    "epe": _pair_mean(pairs, pairs.distances),
  }
  found = _means(np.stack(list(columns.values()), 1), pairs)
  means = dict(zip(columns, found))
  return {
    "pairs": len(pairs.size),
    "empty_pairs": int((~pairs.valid.any(1)).sum()),
    "pck": {name: means[f"pck {name}"] for name in scores},
    **{name: means[name] for name in ("mpck", "mpck_to_0.2", "auc", "nme", "epe")},
    "per_category": {
      category: _of_category(pairs, category, scores, keypoint_names.get(category, ()))
      for category in dict.fromkeys(pairs.category.tolist())
    },
  }


def _pair_mean(pairs: Pairs, values: np.ndarray) -> Float[np.ndarray, " p"]:
  total = np.where(pairs.valid, values, 0.0).sum(1)
  return total / np.maximum(pairs.valid.sum(1), 1)


def _means(columns: Float[np.ndarray, "p m"], pairs: Pairs) -> list[dict[str, Any]]:
  interval = category_episode_bootstrap(columns, pairs.category, pairs.episode)
  ends = zip(interval.low.tolist(), interval.high.tolist())
  return [
    {"mean": float(values.mean()), "ci95": t_half_width(values), "bootstrap95": list(e)}
    for values, e in zip(columns.T, ends)
  ]


def _of_category(
  pairs: Pairs,
  category: str,
  scores: Mapping[str, np.ndarray],
  names: tuple[str, ...],
) -> dict[str, Any]:
  members = pairs.category == category
  valid = pairs.valid[members]
  found = (pairs.distances / pairs.size[:, None] < 0.2)[members] & valid
  keypoints = {}
  for i in np.flatnonzero(valid.any(0)):
    name = names[i] if i < len(names) else f"keypoint {i + 1}"
    count = int(valid[:, i].sum())
    keypoints[name] = {"pck 0.2": float(found[:, i].sum() / count), "count": count}
  pck_of = {name: float(values[members].mean()) for name, values in scores.items()}
  return {"pairs": int(members.sum()), "pck": pck_of, "keypoints": keypoints}
