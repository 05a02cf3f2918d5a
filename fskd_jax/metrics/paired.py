"""Paired comparison of two evaluated runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fskd_jax.metrics import intervals

_PREDICTOR = "detector"


_HEAD = ("data", "shots", "queries", "seed")


def compare(
  a: Mapping[str, Any], b: Mapping[str, Any], settings: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
  """Compares the detectors of two evaluations, episode by episode.

  Args:
    a: The first record, as returned by `record.read`.
    b: The second record.
    settings: The settings to compare; None compares all that both have.

  Returns:
    For each setting, the numbers of "episodes" and "species", the PCK "threshold" of
    the groups, and "metrics", "per_keypoint" and "per_species" by name. An entry has
    the means "a" and "b", "difference" (b - a) and "interval95", [low, high] or None.

  Raises:
    ValueError: The protocols, decodings or episodes differ, or a setting is missing.
      The message names the difference.
  """
  _check_protocols(a, b)
  _check_decodings(a, b)
  both = [name for name in a["settings"] if name in b["settings"]]
  missing = [name for name in settings or () if name not in both]
  if missing or not both:
    raise ValueError(
      f"{missing or 'no settings'}: not in both runs; A has {list(a['settings'])}, "
      f"B has {list(b['settings'])}"
    )
  found = {}
  for name in settings or both:
    _check(name, a, b)
    found[name] = _compare(a["settings"][name], b["settings"][name])
  return found


def _check_decodings(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
  mine, other = map(_decoding, (a, b))
  if mine != other:
    raise ValueError(
      f"A was evaluated with the decoding {mine!r} and B with {other!r}: evaluate both "
      "with one (--config.eval.decoding)"
    )


def _decoding(run: Mapping[str, Any]) -> str:
  # Version 0.1.0 did not record it: it took the highest cell, `fskd mp100` the mode.
  is_mp100 = run.get("protocol", "ours").startswith("MP-100")
  return run.get("decoding", "mode" if is_mp100 else "argmax")


def _check_protocols(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
  # Records written before there was a second protocol do not name one.
  mine, other = (run.get("protocol", "ours") for run in (a, b))
  if mine != other:
    raise ValueError(
      f"A was evaluated by the protocol {mine!r} and B by {other!r}, whose crops and "
      "distances differ: evaluate both by one (--config.eval.protocol)"
    )


def _check(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
  """Raises a ValueError that names the differences unless the episodes agree."""
  mine, other = a["settings"][name], b["settings"][name]
  if mine["manifest"] == other["manifest"]:
    return
  differs = [f"{k}: {a[k]!r} and {b[k]!r}" for k in _HEAD if a[k] != b[k]]
  counts = [len(record["instances"]) for record in (mine, other)]
  if counts[0] != counts[1]:
    differs.append(f"number of episodes: {counts[0]} and {counts[1]}")
  if not differs:
    rows = zip(mine["instances"], other["instances"])
    first = next((i for i, (x, y) in enumerate(rows) if x != y), None)
    differs = [
      "the same images, but other keypoint types or visible keypoints (data.base, "
      "data.novel, data.image_size and the crop decide them)"
      if first is None
      else f"episode {first} on: instances {mine['instances'][first]} and "
      f"{other['instances'][first]}"
    ]
  raise ValueError(
    f"setting {name!r}: the runs were not evaluated on the same episodes; "
    f"{'; '.join(differs)}"
  )


def _compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
  names = a["species"]
  # Episodes that mix species all count as one category, as in `scores`.
  mixed = None in names
  species = np.array(["" if mixed else name for name in names])
  mine, other = a["scores"][_PREDICTOR], b["scores"][_PREDICTOR]

  def difference(x: Sequence, y: Sequence, chosen: np.ndarray) -> dict[str, Any] | None:
    pairs = np.array([x, y], np.float64)  # None becomes nan
    episodes = np.flatnonzero(chosen & np.isfinite(pairs).all(0))
    if not len(episodes):
      return None
    pairs, kinds = pairs[:, episodes], species[episodes]
    found = intervals.paired_bootstrap(pairs[0], pairs[1], kinds, episodes)
    ends = [float(found.low), float(found.high)]
    return {
      "a": float(pairs[0].mean()),
      "b": float(pairs[1].mean()),
      "difference": float(found.mean),
      "interval95": ends if len(episodes) > 1 else None,
      "episodes": len(episodes),
    }

  every = np.ones(len(names), bool)
  limits = [t for t in mine["pck"] if t in other["pck"]]
  if not limits:
    raise ValueError(
      f"no common threshold: A has {list(mine['pck'])}, B has {list(other['pck'])}"
    )
  limit = min(limits, key=lambda t: abs(float(t) - 0.1))
  whole = {
    f"pck@{t}": difference(mine["pck"][t], other["pck"][t], every) for t in limits
  }
  headline = whole[f"pck@{limit}"]
  if headline is None:
    raise ValueError("no episode has a valid keypoint in both runs")
  whole |= {key: difference(mine[key], other[key], every) for key in ("auc", "ne")}
  types = {
    name: difference(pck[limit], other["per_keypoint"][name][limit], every)
    for name, pck in mine["per_keypoint"].items()
  }
  kinds = [] if mixed else sorted(set(names))
  return {
    "episodes": headline["episodes"],
    "species": len(kinds) or None,
    "threshold": limit,
    "metrics": whole,
    "per_keypoint": types,
    "per_species": {
      name: difference(mine["pck"][limit], other["pck"][limit], species == name)
      for name in kinds
    },
  }


def verdict(row: Mapping[str, Any], episodes: str) -> str:
  """Returns a plain sentence on what a difference of PCK shows.

  Args:
    row: An entry returned by `compare`.
    episodes: A description of the sample, such as "300 episodes".
  """
  if row["interval95"] is None:
    return f"nothing shown: the same {episodes} are too few"
  low, high = row["interval95"]
  if low <= 0 <= high:
    points = (
      f"{100 * row['difference']:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    )
    return f"no difference shown (B - A: {points}) on the same {episodes}"
  better, sign = ("B", 1) if low > 0 else ("A", -1)
  ends = sorted((100 * sign * low, 100 * sign * high))
  return (
    f"{better} is better by {100 * sign * row['difference']:.1f} points "
    f"({ends[0]:.1f} to {ends[1]:.1f}) on the same {episodes}"
  )
