"""Draws a calibration as curves of reliability and of risk by coverage."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from fskd_jax.metrics.reliability import Curves
from fskd_jax.pictures.style import render

_MIN_COUNT = 20
"""Smallest number of keypoints of a bin that is drawn: smaller bins show chance."""


def draw_curves(curves: Mapping[str, Curves]) -> UInt8[np.ndarray, "h w 3"]:
  """Draws the curves of several settings into one picture."""
  height = 4.2 + 0.2 * -(-len(curves) // 2)  # a legend of two columns below
  figure = Figure(figsize=(9, height), dpi=100, layout="constrained")
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
    right.plot(percent, found.risk, lw=1.5)
  left.set(
    title="reliability (dot area: number)",
    xlabel="confidence",
    ylabel="fraction right",
    xlim=(0, 1),
    ylim=(0, 1),
  )
  right.set(
    title="risk by coverage",
    xlabel="% kept, the most confident first",
    ylabel="fraction of these that is wrong",
    xlim=(0, 100),
    ylim=(0, None),
  )
  for axis in (left, right):
    axis.grid(alpha=0.3)
  if curves:
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
  return render(figure)
