"""Panels of attention pictures: crops, maps over them, a shared colour bar.

Cells at or below the threshold show the grey crop only. Scales of attention are
logarithmic, because attention spans orders of magnitude: a linear scale would show only
the few largest weights.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fskd_jax.pictures.style import keypoint_colors

COLORS = "plasma"
"""Colour map of overlays."""

OPACITY = 0.7

DECADES = 2
"""Length of a logarithmic scale below the largest value if there is no threshold."""

MARGINS = 0.1, 0.95, 0.5
"""Margins of a figure, inches: left, right (the colour bar), above (the heading)."""


def make_panels(
  rows: int,
  columns: int,
  width: float,
  shape: Sequence[int],
  heading: str,
  below: float = 0.05,
) -> tuple[Figure, np.ndarray]:
  """Makes a figure of panels without axes.

  Args:
    rows: The number of rows.
    columns: The number of columns.
    width: The width of a panel, inches.
    shape: (height, width, ..) of the images or maps in the panels.
    heading: The text above the panels.
    below: The free space below the panels, inches.

  Returns:
    The figure, and its panels [rows columns].
  """
  left, right, top = MARGINS
  height, gap, space = width * shape[0] / shape[1], 0.2, 0.06
  total = (
    columns * width + (columns - 1) * space + left + right,
    rows * height + (rows - 1) * gap + top + below,
  )
  figure = Figure(figsize=total, dpi=150)
  panels = figure.subplots(rows, columns, squeeze=False)
  figure.subplots_adjust(
    left=left / total[0], right=1 - right / total[0],
    bottom=below / total[1], top=1 - top / total[1],
    wspace=space / width, hspace=gap / height,
  )  # fmt: skip
  for axis in panels.flat:
    axis.axis("off")
  figure.text(left / total[0], 1 - 0.1 / total[1], heading, fontsize=9, va="top")
  return figure, panels


def log_scale(values: np.ndarray, threshold: float) -> LogNorm:
  """Returns the scale from the threshold to the largest value."""
  top = float(values.max()) or 1.0
  bottom = threshold if threshold > 0 else top / 10**DECADES
  return LogNorm(min(bottom, top / 1.01), top, clip=True)


def draw_crop(
  axis: Axes,
  image: UInt8[np.ndarray, "H W 3"],
  points: Float[np.ndarray, "n 2"],
  title: str,
  limbs: Sequence[tuple[int, int]] = (),
) -> None:
  """Draws the crop in colour, a dot at every point, and lines between pairs of them."""
  axis.imshow(image)
  axis.autoscale(False)  # points outside the crop are not shown
  for color, width in (("black", 2.0), ("white", 0.9)):
    lines = [points[list(pair)] for pair in limbs]
    axis.add_collection(LineCollection(lines, colors=color, linewidths=width))
  colors = keypoint_colors(len(points))
  axis.scatter(*points.T, s=14, c=colors, edgecolors="black", lw=0.4)
  axis.set_title(title, fontsize=8, pad=3)


def draw_overlay(
  axis: Axes,
  image: UInt8[np.ndarray, "H W 3"],
  values: Float[np.ndarray, "H W"],
  norm: Normalize,
  threshold: float,
) -> None:
  """Draws the grey crop, and over it the values above the threshold in colour."""
  axis.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255)
  axis.autoscale(False)
  shown = np.ma.masked_where(values <= threshold, values)
  axis.imshow(shown, cmap=COLORS, norm=norm, alpha=OPACITY, interpolation="nearest")


def draw_ring(
  axis: Axes, point: Sequence[float] | Float[np.ndarray, "2"], size: float = 40
) -> None:
  """Draws a ring that is visible on dark and light backgrounds."""
  for color, width in (("black", 2.2), ("white", 1.0)):
    axis.scatter(*point, s=size, facecolors="none", edgecolors=color, lw=width)


def add_bar(
  figure: Figure,
  panels: np.ndarray,
  norm: Normalize,
  colors: str,
  label: str,
  extend: Literal["neither", "min", "max"] = "neither",
) -> None:
  """Adds the colour bar right of the panels, from their top.

  Args:
    figure: The figure of the panels.
    panels: [rows columns], the panels.
    norm: The scale.
    colors: The colour map; that of overlays is drawn with their opacity, on grey.
    label: The label of the bar.
    extend: "min" or "max" if values lie below or above the scale.
  """
  width, height = figure.get_size_inches()
  top, bottom = panels[0, -1].get_position(), panels[-1, -1].get_position()
  length = min(2.6 / height, top.y1 - bottom.y0)
  axis = figure.add_axes((top.x1 + 0.1 / width, top.y1 - length, 0.12 / width, length))
  axis.set_facecolor("gray")
  bar = figure.colorbar(
    ScalarMappable(norm, colors),
    cax=axis,
    alpha=OPACITY if colors == COLORS else None,
    extend=extend,
    extendfrac=0.06,
  )
  if isinstance(norm, LogNorm):
    set_log_ticks(axis.yaxis)
  bar.set_label(label, fontsize=8)
  axis.tick_params(labelsize=7)


def set_log_ticks(axis: Axis) -> None:
  """Labels a logarithmic axis with plain numbers, even if it is short."""
  low, high = axis.get_view_interval()
  subs = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 7)
  axis.set_major_locator(LogLocator(subs=subs))
  axis.set_major_formatter("{x:g}")
  axis.set_minor_formatter(NullFormatter())
