"""Draws an episode as the network sees it, its heat-maps and its kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fskd_jax.pictures.episodes import MAX_LEGEND
from fskd_jax.pictures.style import keypoint_colors

MAX_IMAGES = 4
"""Largest number of support images, and of query images, drawn of an episode."""

_PANEL = 2.4
"""Side of a panel, inches."""


class EpisodeInput(NamedTuple):
  """An episode as the network sees it; coordinates are pixels of the crops.

  Attributes:
    images: uint8 [t L L 3], RGB, support first.
    shots: The number of support images.
    keypoints: [t n 2], the annotated keypoints.
    visible: bool [t n], whether each keypoint is visible.
    is_auxiliary: bool [n], whether each type is interpolated.
    negatives: [t g 2], background points, possibly none.
    pooling: [k n h w], the weights by which features of the support are pooled.
    targets: [m n h w], the targets of the queries' heat-maps.
    names: The names of the n types.
  """

  images: UInt8[np.ndarray, "t l l 3"]
  shots: int
  keypoints: Float[np.ndarray, "t n 2"]
  visible: Bool[np.ndarray, "t n"]
  is_auxiliary: Bool[np.ndarray, " n"]
  negatives: Float[np.ndarray, "t g 2"]
  pooling: Float[np.ndarray, "k n h w"]
  targets: Float[np.ndarray, "m n h w"]
  names: Sequence[str]


class KeypointView(NamedTuple):
  """A detector's heat-map and kernels of one keypoint type.

  Attributes:
    title: The name of the type.
    support: A support image that shows it.
    place: (x, y) of the keypoint in pixels of `support`.
    found: (x, y) of the prediction in pixels of the query's crop.
    confidence: The confidence of the prediction, 0..1.
    heatmap: The heat-map of the query's crop.
    tap_norms: The norms of the taps of every generated kernel.
  """

  title: str
  support: UInt8[np.ndarray, "y x 3"]
  place: Sequence[float]
  found: Float[np.ndarray, "2"]
  confidence: float
  heatmap: Float[np.ndarray, "h w"]
  tap_norms: Sequence[Float[np.ndarray, "s s"]]


def draw_episode(shown: EpisodeInput, heading: str) -> Figure:
  """Draws crops with keypoints, above pooling windows and heat-map targets."""
  queries = np.arange(shown.shots, len(shown.images))
  columns = [*range(shown.shots)[:MAX_IMAGES], *queries[:MAX_IMAGES].tolist()]
  colors = _colors(shown)
  figure = Figure(
    figsize=(_PANEL * len(columns) + 2.4, 2 * _PANEL + 0.9),
    dpi=100, layout="constrained",
  )  # fmt: skip
  grid = figure.subplots(2, len(columns), squeeze=False)
  maps = [*shown.pooling, *shown.targets]
  for (above, below), t in zip(grid.T, columns):
    is_support = t < shown.shots
    role = f"support {t + 1}" if is_support else f"query {t - shown.shots + 1}"
    _draw_keypoints(above, shown, t, colors)
    above.set_title(role, fontsize=9, loc="left")
    _show_grey(below, shown.images[t])
    visible = shown.visible[t]
    _overlay(below, _colored(maps[t][visible], colors[visible]), shown.images.shape[1])
    kind = "pooling windows" if is_support else "targets"
    side = maps[t].shape[-1]
    below.set_title(f"{kind}, {side} x {side} cells", fontsize=9, loc="left")
  figure.legend(
    handles=_marks(shown, colors), loc="outside right center", fontsize=8, frameon=False
  )
  figure.suptitle(heading, fontsize=10, x=0.01, ha="left")
  return figure


def draw_heatmaps(
  rows: Sequence[KeypointView],
  query: UInt8[np.ndarray, "l l 3"],
  kernels: Sequence[str],
  heading: str,
) -> Figure:
  """Draws a row for every keypoint type.

  Args:
    rows: The keypoint types.
    query: The crop of the query.
    kernels: The names of the kernels in `KeypointView.tap_norms`.
    heading: The text above the figure.
  """
  columns = 3 + len(kernels)
  figure = Figure(
    figsize=(0.8 * _PANEL * columns, 0.88 * _PANEL * len(rows) + 0.5),
    dpi=100, layout="constrained",
  )  # fmt: skip
  grid = figure.subplots(len(rows), columns, squeeze=False)
  largest = [max(r.tap_norms[g].max() for r in rows) for g in range(len(kernels))]
  for axes, row in zip(grid, rows):
    for axis, image, point in (
      (axes[0], row.support, row.place),
      (axes[1], query, row.found),
    ):
      axis.imshow(image)
      axis.axis("off")
      axis.scatter(*point, s=45, color="red", edgecolors="white", lw=1)
    axes[0].set_title(f"{row.title}: support", fontsize=8, loc="left")
    axes[1].set_title(f"found, {100 * row.confidence:.0f} %", fontsize=8, loc="left")
    low, high = row.heatmap.min(), row.heatmap.max()
    _show_grey(axes[2], query)
    edges = (-0.5, len(query) - 0.5, len(query) - 0.5, -0.5)
    axes[2].imshow(row.heatmap, cmap="inferno", alpha=0.75, extent=edges)
    axes[2].contour(
      row.heatmap, [high - 0.1 * (high - low)], colors="white", linewidths=1,
      extent=edges, origin="upper",
    )  # fmt: skip
    axes[2].set_title(f"heat-map {low:.2g} .. {high:.2g}", fontsize=8, loc="left")
    for axis, name, norms, limit in zip(axes[3:], kernels, row.tap_norms, largest):
      _draw_kernel(axis, norms, limit)
      axis.set_title(name, fontsize=8, loc="left")
  figure.suptitle(heading, fontsize=10, x=0.01, ha="left")
  return figure


def _colors(shown: EpisodeInput) -> Float[np.ndarray, "n 3"]:
  """Returns colours spread over the visible types, and again over auxiliary ones."""
  colors = np.zeros((len(shown.names), 3))
  for auxiliary in (False, True):
    chosen = shown.visible.any(0) & (shown.is_auxiliary == auxiliary)
    colors[chosen] = keypoint_colors(int(chosen.sum()))
  return colors


def _draw_keypoints(
  axis: Axes, shown: EpisodeInput, t: int, colors: np.ndarray
) -> None:
  axis.imshow(shown.images[t])
  axis.axis("off")
  axis.scatter(*shown.negatives[t].T, s=14, marker="x", color="white", lw=1)
  for auxiliary, size, marker in ((True, 14, "D"), (False, 30, "o")):
    chosen = shown.visible[t] & (shown.is_auxiliary == auxiliary)
    axis.scatter(
      *shown.keypoints[t][chosen].T, s=size, marker=marker, c=colors[chosen],
      edgecolors="black", lw=0.4,
    )  # fmt: skip


def _marks(shown: EpisodeInput, colors: np.ndarray) -> list[Line2D]:
  """Returns the legend: types by their colours if they are few, and negatives."""

  def mark(label: str, marker: str, color) -> Line2D:
    return Line2D([], [], marker=marker, ls="", ms=5, color=color, label=label)

  seen = shown.visible.any(0)
  handles = []
  for auxiliary, marker, noun in (
    (False, "o", "types"),
    (True, "D", "auxiliary types"),
  ):
    chosen = np.flatnonzero(seen & (shown.is_auxiliary == auxiliary)).tolist()
    if chosen and (auxiliary or len(chosen) > MAX_LEGEND):
      handles.append(mark(f"{len(chosen)} {noun}", marker, "dimgray"))
    else:
      handles += [mark(shown.names[n], marker, colors[n]) for n in chosen]
  if shown.negatives.size:
    handles.append(mark(f"{shown.negatives.shape[1]} negatives", "x", "black"))
  return handles


def _draw_kernel(axis: Axes, norms: np.ndarray, limit: float) -> None:
  axis.imshow(norms, vmin=0, vmax=limit, cmap="Blues")
  axis.set_xticks([])
  axis.set_yticks([])
  if len(norms) <= 5:
    for (y, x), value in np.ndenumerate(norms):
      ink = "white" if value > 0.6 * limit else "black"
      axis.text(x, y, f"{value:.3g}", ha="center", va="center", fontsize=7, color=ink)


def _show_grey(axis: Axes, image: UInt8[np.ndarray, "l l 3"]) -> None:
  """Shows an image in dark grey, so that colours over it stand out."""
  axis.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=400)
  axis.axis("off")


def _overlay(axis: Axes, pixels: Float[np.ndarray, "h w 4"], side: int) -> None:
  edges = (-0.5, side - 0.5, side - 0.5, -0.5)
  axis.imshow(pixels, extent=edges, interpolation="nearest")


def _colored(
  maps: Float[np.ndarray, "n h w"], colors: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "h w 4"]:
  """Paints every cell with the colour of the type that is highest there."""
  if not len(maps):
    return np.zeros((*maps.shape[1:], 4))
  share = maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-9)
  painted = colors[share.argmax(0)]
  return np.concatenate([painted, 0.9 * share.max(0)[..., None]], axis=-1)
