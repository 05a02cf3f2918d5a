"""Draws the loss and validation curves of runs, by step and by time."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fskd_jax.metrics import lines as metrics_lines

_COLORS = matplotlib.color_sequences["tab10"]
_STYLES = "-", "--", ":", "-."
_WINDOW = 0.02
"""Width of the running mean of the loss, as a part of the run."""


def draw_curves(runs: Mapping[str, pathlib.Path]) -> Figure:
  """Draws training loss and validation scores of runs, by step and by minutes.

  Args:
    runs: The files metrics.jsonl by the name of the run. Each run has a colour; for a
      single run, each score has.

  Raises:
    FileNotFoundError, ValueError: A file does not exist or has nothing to draw.
  """
  figure = Figure(figsize=(10, 6), dpi=100, layout="constrained")
  axes = figure.subplots(2, 2, sharex="col", sharey="row")
  lines = {_shown(name): _read(path) for name, path in runs.items()}
  scores = sorted({k for run in lines.values() for x in run for k in x if _is_score(k)})
  for number, (name, run) in enumerate(lines.items()):
    color = _COLORS[number % len(_COLORS)]
    steps, losses = _series(run, "train/loss")
    timed, seconds = _series(run, "train/seconds")
    for axis, places in zip(axes[0], (steps, np.interp(steps, timed, seconds) / 60)):
      axis.plot(places, losses, lw=0.7, color=color, alpha=0.3)
      axis.plot(places, _smoothed(losses), lw=1.5, color=color, label=name)
    for place, key in enumerate(scores):
      steps, values = _series(run, key)
      style = {"color": color, "ls": _STYLES[place % len(_STYLES)]}
      label = f"{name}, {key.removeprefix('val/')}"
      if len(lines) == 1:
        style = {"color": _COLORS[place % len(_COLORS)]}
        label = key.removeprefix("val/")
      for axis, x in zip(axes[1], (steps, np.interp(steps, timed, seconds) / 60)):
        axis.plot(x, values, lw=1.5, marker=".", label=label, **style)
  _dress(axes, has_scores=bool(scores))
  labelled = axes[1, 0] if scores else axes[0, 0]
  handles, _ = labelled.get_legend_handles_labels()
  figure.legend(
    handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False
  )
  return figure


def _dress(axes: np.ndarray, *, has_scores: bool) -> None:
  (loss, _), (validation, _) = axes
  loss.set_ylabel("training loss")
  loss.set_ylim(_range_of_lines(loss))
  validation.set_ylabel("validation")
  validation.set_ylim(0, 1)
  for axis, label in zip(axes[1], ("step", "minutes of training")):
    axis.set_xlabel(label)
    axis.set_xlim(0, None)
  if not has_scores:
    validation.text(
      0.5, 0.5, "no validation", ha="center", transform=validation.transAxes
    )
  for axis in axes.flat:
    axis.grid(alpha=0.3)


def _range_of_lines(axis: Axes) -> tuple[float, float]:
  """Returns limits that cut off the first, steep part of losses if it dominates."""
  values = np.concatenate([np.asarray(line.get_ydata()) for line in axis.lines])
  low, high = np.nanmin(values), np.nanpercentile(values, 99)
  margin = 0.05 * (high - low) or 1.0
  return low - margin, high + margin


def _shown(name: str) -> str:
  """Makes a label of any file name: Matplotlib reads `$`, hides `_`, wants UTF-8."""
  printable = name.encode(errors="backslashreplace").decode().replace("$", r"\$")
  return f" {printable}" if name.startswith("_") else printable


def _is_score(key: str) -> bool:
  return key.startswith("val/")


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  lines = metrics_lines.read(path)
  if not any("train/loss" in line for line in lines):
    raise ValueError(f"{path} has no training loss yet")
  return lines


def _series(
  run: Sequence[Mapping[str, Any]], key: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the steps and the values of a metric; nan where it was not finite."""
  points = [(line["step"], line[key]) for line in run if key in line]
  steps, values = np.array(points, np.float64).reshape(-1, 2).T
  return steps, values


def _smoothed(values: np.ndarray) -> np.ndarray:
  """Returns the running mean, with a narrower window at the ends."""
  reach = int(_WINDOW * len(values)) // 2
  return np.array(
    [values[max(i - reach, 0) : i + reach + 1].mean() for i in range(len(values))]
  )
