"""The picture of a calibration: reliability, and risk by coverage."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from fskd_jax.plots import render

_MIN_COUNT = 20
"""Bins of fewer keypoints are not drawn: what they show is chance."""


class Curves(NamedTuple):
  """How far confidences can be trusted.

  Attributes:
    confidence, correct, count: of each bin that holds any: its mean confidence, which
      part is right, and how many there are.
    coverage: parts of all, the surest first, 0..1.
    risk: which part of them is wrong.
    error: expected calibration error: mean distance of confidence and correctness
      over the bins, weighted by their counts.
  """

  confidence: list[float]
  correct: list[float]
  count: list[int]
  coverage: list[float]
  risk: list[float]
  error: float


def draw_curves(curves: Mapping[str, Curves]) -> UInt8[np.ndarray, "h w 3"]:
  """Draws the curves of several settings into one picture."""
  figure = Figure(figsize=(9, 4.2), dpi=100, layout="constrained")
  left, right = figure.subplots(1, 2)
  left.plot([0, 1], [0, 1], color="gray", lw=1, ls="--")
  for name, found in curves.items():
    count = np.array(found.count)
    shown = count >= _MIN_COUNT
    x, y = np.array([found.confidence, found.correct])[:, shown]
    label = f"{name}, error {100 * found.error:.1f} %"
    (line,) = left.plot(x, y, lw=1, label=label)
    sizes = 150 * count[shown] / count.sum() + 6
    left.scatter(x, y, s=sizes, color=line.get_color())
    percent = 100 * np.array(found.coverage)
    right.plot(percent, found.risk, lw=1.5, label=name)
  left.set(
    title="reliability (dot area: how many)",
    xlabel="confidence",
    ylabel="part that is right",
    xlim=(0, 1),
    ylim=(0, 1),
  )
  right.set(
    title="risk by coverage",
    xlabel="% kept, the most confident first",
    ylabel="part of them that is wrong",
    xlim=(0, 100),
    ylim=(0, None),
  )
  for axis in (left, right):
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
  return render(figure)
