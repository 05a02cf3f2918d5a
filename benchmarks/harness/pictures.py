"""Time and memory over keypoints, episodes and image size, from the results."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter


class _Row(NamedTuple):
  """Which entries a row of panels shows; entries must have these variables."""

  title: str
  case: str
  variables: Mapping[str, Any]


_ROWS = {
  "keypoints": (
    _Row("head, 1 + 5 images", "inference", {"part": "head"}),
    _Row("SMD and MDS, forward, 1 + 1 images", "mds", {"part": "forward"}),
    _Row("SMD and MDS, with gradients", "mds", {"part": "gradients"}),
  ),
  "episodes": (_Row("training step", "training", {}),),
  "side": (
    _Row("training step, 2 episodes", "training", {"episodes": 2}),
    _Row("encoder, 6 images", "inference", {"part": "encoder"}),
  ),
}
_LABELS = {
  "keypoints": "keypoint types",
  "episodes": "episodes",
  "side": "side of the images, pixels",
}
_FILES = {"keypoints": "keypoints", "episodes": "episodes", "side": "image_size"}


def draw(content: Mapping[str, Any], path: pathlib.Path) -> list[pathlib.Path]:
  """Draws what the results have; returns the files, beside `path`."""
  written = []
  for variable, rows in _ROWS.items():
    found = [(row.title, _lines(content, row, variable)) for row in rows]
    found = [(title, lines) for title, lines in found if lines]
    if found:
      out = path.with_name(f"{path.stem}_{_FILES[variable]}.png")
      FigureCanvasAgg(_figure(found, _LABELS[variable])).print_png(str(out))
      written.append(out)
  return written


def _lines(
  content: Mapping[str, Any], row: _Row, variable: str
) -> dict[str, list[tuple[float, float, float | None]]]:
  """Returns (x, seconds, bytes or None) of every side, where x varies."""
  entries = [
    entry
    for entry in content["cases"].get(row.case, {}).get("entries", ())
    if "sides" in entry
    and variable in entry["variables"]
    and row.variables.items() <= entry["variables"].items()
  ]
  if variable == "episodes":
    entries = _of_one_size(entries)
  lines = collections.defaultdict(list)
  for entry in entries:
    precision = entry["variables"].get("precision", "float32")
    suffix = "" if precision == "float32" else f", {precision}"
    for name, side in entry["sides"].items():
      if "seconds" in side:
        point = side["seconds"]["median"], side.get("peak_bytes")
        lines[name + suffix].append((entry["variables"][variable], *point))
  varies = {x for points in lines.values() for x, *_ in points}
  return {k: sorted(v) for k, v in lines.items()} if len(varies) > 1 else {}


def _of_one_size(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Keeps the image size of which most numbers of episodes were measured."""
  by_side = collections.defaultdict(list)
  for entry in entries:
    by_side[entry["variables"]["side"]].append(entry)
  return max(by_side.values(), key=len, default=[])


def _figure(rows: Sequence[tuple[str, Mapping[str, Any]]], label: str) -> Figure:
  figure = Figure(figsize=(9, 3.2 * len(rows)), dpi=100, layout="constrained")
  grid = figure.subplots(len(rows), 2, squeeze=False)
  for (time, memory), (title, lines) in zip(grid, rows):
    for name, points in lines.items():
      style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "label": name}
      time.plot([x for x, *_ in points], [s for _, s, _ in points], **style)
      known = [(x, b / 2**20) for x, _, b in points if b]
      memory.plot([x for x, _ in known], [b for _, b in known], **style)
    time.set_ylabel("seconds")
    memory.set_ylabel("peak memory, MiB")
    time.set_title(title, fontsize=10)
    measured = sorted({x for points in lines.values() for x, *_ in points})
    for axis in (time, memory):
      axis.set_xscale("log")
      axis.set_xticks(measured, [f"{x:,}" for x in measured])
      axis.set_xticks([], minor=True)
      axis.set_yscale("log")
      axis.yaxis.set_major_formatter("{x:g}")
      axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
      axis.set_xlabel(label)
      axis.grid(alpha=0.3)
    time.legend(fontsize=8)
  return figure
