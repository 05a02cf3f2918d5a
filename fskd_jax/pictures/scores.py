"""Draws the scores of an evaluation, by keypoint type and by species."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_BARS = 40
"""Largest number of bars; of more, the lowest and the highest half of it are drawn."""

GROUPS = {"per_keypoint": "keypoint type", "per_species": "species"}


def draw_scores(results: Mapping[str, Any]) -> Figure:
  """Draws PCK at 0.1 (or nearest) with 95 % intervals, a row for every setting.

  Args:
    results: The content of eval/results.json.

  Raises:
    ValueError: The results have no scores of keypoint types.
  """
  settings = {
    name: found
    for name, found in results["settings"].items()
    if "per_keypoint" in found
  }
  if not settings:
    raise ValueError("the results hold no scores of keypoint types")
  thresholds = next(iter(settings.values()))["pck"]
  threshold = min(thresholds, key=lambda t: abs(float(t) - 0.1))
  bars = [
    max(min(len(found[group]), MAX_BARS + 1) for group in GROUPS)
    for found in settings.values()
  ]
  figure = Figure(
    figsize=(11, 0.19 * sum(bars) + 0.75 * len(bars) + 0.5),
    dpi=100, layout="constrained",
  )  # fmt: skip
  heights = [count + 2 for count in bars]
  grid = figure.subplots(
    len(settings), len(GROUPS), squeeze=False, sharex=True, height_ratios=heights
  )
  for axes, count, (setting, found) in zip(grid, bars, settings.items()):
    for axis, (group, noun) in zip(axes, GROUPS.items()):
      _draw_bars(axis, found[group], threshold, count)
      mean = found["pck"][threshold]["mean"]
      axis.axvline(100 * mean, color="black", lw=1, ls="--")
      axis.set_title(
        f"{setting}, by {noun}: mean {100 * mean:.1f} %", fontsize=9, loc="left"
      )
  for axis in grid[-1]:
    axis.set_xlabel(f"PCK@{threshold} in %, with 95 % intervals over the episodes")
  figure.suptitle(
    f"{results['config']}, step {results['step']}, {results['shots']}-shot",
    fontsize=10, x=0.01, ha="left",
  )  # fmt: skip
  return figure


def _draw_bars(
  axis: Axes, group: Mapping[str, Any], threshold: str, places: int
) -> None:
  """Draws bars from the top down, the lowest first, in room for `places` of them."""
  ordered = sorted(group.items(), key=lambda item: item[1]["pck"][threshold]["mean"])
  rows = [(name, found["pck"][threshold], found["count"]) for name, found in ordered]
  left_out = len(rows) - MAX_BARS
  if left_out > 0:
    gap = (f"({left_out} between)", {"mean": np.nan, "ci95": None}, None)
    rows = [*rows[: MAX_BARS // 2], gap, *rows[-MAX_BARS // 2 :]]
  means = np.array([100 * found["mean"] for _, found, _ in rows])
  halves = np.array([100 * (found["ci95"] or 0.0) for _, found, _ in rows])
  reach = np.stack([np.minimum(halves, means), np.minimum(halves, 100 - means)])
  axis.barh(
    range(len(rows)), means, xerr=reach, height=0.75, color="steelblue",
    error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "black"},
  )  # fmt: skip
  labels = [name if n is None else f"{name}  ({n})" for name, _, n in rows]
  axis.set_yticks(range(len(rows)), labels, fontsize=7)
  axis.set_ylim(places - 0.4, -0.6)
  axis.set_xlim(0, 100)
  axis.grid(axis="x", alpha=0.3)
  axis.set_axisbelow(True)
