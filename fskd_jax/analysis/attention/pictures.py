"""Draws attention: maps over the crop, sheets, positions, gradients.

All maps of a figure have the same scale and share its colour bar.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from fskd_jax.analysis.attention.gradients import TokenGradients
from fskd_jax.analysis.attention.panels import (
  COLORS,
  add_bar,
  draw_crop,
  draw_overlay,
  draw_ring,
  log_scale,
  make_panels,
  set_log_ticks,
)

COLUMNS = 6
"""Panels in a row of `draw_maps`."""

POSITIONS = 6
"""Positions along the longer side of `draw_position_similarity`."""


def draw_maps(
  image: UInt8[np.ndarray, "H W 3"],
  maps: Float[np.ndarray, "n H W"],
  points: Float[np.ndarray, "n 2"],
  names: Sequence[str],
  *,
  threshold: float,
  heading: str,
  label: str,
  limbs: Sequence[tuple[int, int]] = (),
) -> Figure:
  """Draws one map per keypoint, after the crop with all predictions.

  Args:
    image: The crop.
    maps: A map of positive values per keypoint, for every pixel of the crop.
    points: The predictions in pixels of the crop; a ring marks each in its panel.
    names: The names of the keypoints.
    threshold: The largest value that stays transparent.
    heading: The text above the figure.
    label: The label of the colour bar.
    limbs: Pairs of keypoints to join by lines among the predictions.
  """
  columns = min(COLUMNS, len(names) + 1)
  rows = math.ceil((len(names) + 1) / columns)
  figure, panels = make_panels(rows, columns, 1.6, image.shape, heading)
  draw_crop(panels.flat[0], image, points, "predictions", limbs)
  norm = log_scale(maps, threshold)
  for axis, values, point, name in zip(panels.flat[1:], maps, points, names):
    draw_overlay(axis, image, values, norm, threshold)
    draw_ring(axis, point)
    axis.set_title(name, fontsize=8, pad=3)
  extend = "neither" if threshold > 0 else "min"
  add_bar(figure, panels, norm, COLORS, label, extend)
  return figure


def draw_sheet(
  image: UInt8[np.ndarray, "H W 3"],
  maps: Float[np.ndarray, "layers n H W"],
  points: Float[np.ndarray, "n 2"],
  names: Sequence[str],
  predicted: int,
  *,
  threshold: float,
  heading: str,
  label: str,
  limbs: Sequence[tuple[int, int]] = (),
) -> Figure:
  """Draws the maps of all layers (rows) and keypoints (columns); see `draw_maps`.

  Of the points, the first `predicted` are predictions; the others are places to compare
  with.
  """
  figure, panels = make_panels(len(maps), len(names) + 1, 1.05, image.shape, heading)
  norm = log_scale(maps, threshold)
  for layer, (axes, row) in enumerate(zip(panels, maps)):
    draw_crop(axes[0], image, points[:predicted], f"layer {layer}", limbs)
    for axis, values, point, name in zip(axes[1:], row, points, names):
      draw_overlay(axis, image, values, norm, threshold)
      draw_ring(axis, point)
      axis.set_title("" if layer else name, fontsize=8, pad=3)
  extend = "neither" if threshold > 0 else "min"
  add_bar(figure, panels, norm, COLORS, label, extend)
  return figure


def draw_position_similarity(
  similarities: Float[np.ndarray, "L L"], grid: tuple[int, int], heading: str
) -> Figure:
  """Draws the similarity of chosen positions to all positions, a map for each.

  The panels are arranged as the positions are. A ring marks the position itself, whose
  similarity, always 1, is left out of the scale.

  Args:
    similarities: The cosines, as returned by `maps.cosine_similarities`.
    grid: (h, w) of the positions.
    heading: The text above the figure.

  Source: supplement section B, figure 1, which has a map for every position.
  """
  rows, columns = (
    np.linspace(0, cells - 1, max(2, round(POSITIONS * cells / max(grid))))
    for cells in grid
  )
  figure, panels = make_panels(len(rows), len(columns), 0.9, grid, heading)
  others = similarities[~np.eye(len(similarities), dtype=bool)]
  norm = Normalize(others.min(), others.max(), clip=True)
  for axes, row in zip(panels, rows.round().astype(int)):
    for axis, column in zip(axes, columns.round().astype(int)):
      values = similarities[row * grid[1] + column].reshape(grid)
      axis.imshow(values, cmap="viridis", norm=norm)
      draw_ring(axis, (column, row), 16)
      axis.set_title(f"column {column}, row {row}", fontsize=6, pad=2)
  add_bar(figure, panels, norm, "viridis", "cosine similarity")
  return figure


def draw_gradients(
  image: UInt8[np.ndarray, "H W 3"],
  found: TokenGradients,
  keypoint: int,
  point: Float[np.ndarray, "2"],
  heading: str,
) -> Figure:
  """Draws the norm of the gradient per token in its three forms, and their agreement.

  The scale covers the tokens reached through attention alone. The other tokens, and
  usually all of the supplement's form, lie above it.

  Args:
    image: The crop.
    found: The gradients of all keypoints.
    keypoint: The number of the keypoint to draw.
    point: The prediction of the keypoint, pixels of the crop.
    heading: The text above the figure.
  """
  forms = {
    "exact": found.exact,
    "closed form": found.closed_form,
    "supplement": found.supplement,
  }
  norms = {name: np.linalg.norm(x[keypoint], axis=-1) for name, x in forms.items()}
  chosen = ~found.direct[keypoint]
  exact = norms["exact"][chosen]
  figure, panels = make_panels(1, 4, 1.9, image.shape, heading, below=3.0)
  draw_crop(panels[0, 0], image, point[None], "prediction")
  norm = log_scale(exact, threshold=exact.min())
  for axis, (name, values) in zip(panels[0, 1:], norms.items()):
    draw_overlay(axis, image, _fill_cells(values, image.shape), norm, 0.0)
    draw_ring(axis, point)
    axis.set_title(name, fontsize=8, pad=3)
  add_bar(figure, panels, norm, COLORS, "|gradient| per token", "max")

  attention = found.attention.mean(0)[found.tokens[keypoint]]
  width, height = figure.get_size_inches()
  left, right = (
    figure.add_axes((x / width, 0.5 / height, 3.2 / width, 2.2 / height))
    for x in (0.7, 4.9)
  )
  for name in ("closed form", "supplement"):
    left.loglog(exact, norms[name][chosen], ".", ms=2, label=name)
  left.loglog([exact.min(), exact.max()], [exact.min(), exact.max()], "k", lw=0.8)
  left.set_ylabel("|gradient|, approximation (line: equal)", fontsize=8)
  left.legend(fontsize=7, markerscale=4)
  right.loglog(exact, attention[chosen], ".", ms=2, color="C2")
  right.set_ylabel("attention, mean of the heads", fontsize=8)
  for axis in (left, right):
    axis.set_xlabel("|gradient|, exact (tokens reached by attention)", fontsize=8)
    axis.tick_params(labelsize=7, which="both")
    axis.grid(alpha=0.3)
    set_log_ticks(axis.xaxis)
    set_log_ticks(axis.yaxis)
  return figure


def _fill_cells(
  values: Float[np.ndarray, " L"], shape: Sequence[int]
) -> Float[np.ndarray, "H W"]:
  """Returns the value of its token for every pixel, without interpolation."""
  stride = math.isqrt(shape[0] * shape[1] // len(values))
  cells = values.reshape(shape[0] // stride, -1)
  return cells.repeat(stride, axis=0).repeat(stride, axis=1)
