"""Draws episodes with their predictions.

It uses matplotlib's object interface: no display and no global state.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fskd_jax.pictures.style import keypoint_colors, render

MAX_LEGEND = 18
"""Largest number of keypoint types listed beside a row; more are counted."""


class EpisodePicture(NamedTuple):
  """One row of `draw_episodes`; coordinates are pixels of the crops.

  Attributes:
    title: The text left of the row.
    support_images: uint8 [k L L 3], RGB.
    support_keypoints: [k n 2], the annotated keypoints of the support.
    support_visible: bool [k n], whether each of them is visible.
    query_images: uint8 [m L L 3], RGB.
    query_keypoints: [m n 2], the true keypoints of the queries.
    predicted: [m n 2], the predicted keypoints of the queries.
    valid: bool [m n], whether each of them is scored.
    names: The names of the n keypoint types.
  """

  title: str
  support_images: np.ndarray
  support_keypoints: np.ndarray
  support_visible: np.ndarray
  query_images: np.ndarray
  query_keypoints: np.ndarray
  predicted: np.ndarray
  valid: np.ndarray
  names: Sequence[str]


def draw_episodes(rows: Sequence[EpisodePicture], heading: str = "") -> np.ndarray:
  """Draws episodes as rows: support images, then queries with predictions.

  A dot is a prediction, a ring the true keypoint, and a line joins the two. Each
  keypoint type has one colour within a row.

  Returns:
    uint8 [height width 3].
  """
  columns = max(len(r.support_images) + len(r.query_images) for r in rows)
  figure = Figure(figsize=(1.9 * columns + 1.9, 2.15 * len(rows) + 0.75), dpi=100)
  grid = figure.subplots(len(rows), columns + 1, squeeze=False)
  for axes, row in zip(grid, rows):
    for axis in axes:
      axis.axis("off")
    _draw_row(axes, row)
  figure.suptitle(heading, fontsize=10, x=0.01, y=0.995, ha="left", va="top")
  marks = [
    Line2D([], [], marker="o", ls="", color="dimgray", label="prediction"),
    Line2D([], [], marker="o", ls="", mfc="none", color="dimgray", label="truth"),
  ]
  figure.legend(handles=marks, loc="upper right", ncols=2, fontsize=8, frameon=False)
  figure.subplots_adjust(
    left=0.005, right=0.995, bottom=0.01, top=1 - 0.45 / figure.get_figheight(),
    wspace=0.03, hspace=0.12,
  )  # fmt: skip
  return render(figure)


def _draw_row(axes: Sequence[Axes], row: EpisodePicture) -> None:
  shots = len(row.support_images)
  used = np.flatnonzero(row.valid.any(0) | row.support_visible.any(0)).tolist()
  # Of the types in use alone: an episode of a mixture has many that are not.
  colors = np.zeros((len(row.names), 3))
  colors[used] = keypoint_colors(len(used))
  for i in range(shots):
    shown = np.flatnonzero(row.support_visible[i])
    axes[i].imshow(row.support_images[i])
    axes[i].scatter(*row.support_keypoints[i][shown].T, s=22, c=colors[shown], lw=0)
    axes[i].set_title(row.title if i == 0 else "support", fontsize=8, loc="left")
  for i in range(len(row.query_images)):
    axis = axes[shots + i]
    axis.imshow(row.query_images[i])
    if shots + i == 0:
      axis.set_title(row.title, fontsize=8, loc="left")
    for n in np.flatnonzero(row.valid[i]):
      truth, guess = row.query_keypoints[i, n], row.predicted[i, n]
      axis.plot(*np.stack([truth, guess]).T, color=colors[n], lw=1)
      axis.scatter(*truth, s=40, facecolors="none", edgecolors=[colors[n]], lw=1.2)
      axis.scatter(*guess, s=14, color=[colors[n]], edgecolors="black", lw=0.3)
  if len(used) > MAX_LEGEND:
    axes[-1].text(0, 0.5, f"{len(used)} keypoint types", fontsize=8, va="center")
    return
  handles = [
    Line2D([], [], marker="o", ls="", ms=4, color=colors[n], label=row.names[n])
    for n in used
  ]
  axes[-1].legend(
    handles=handles, loc="center left", fontsize=6, frameon=False,
    labelspacing=0.2, handletextpad=0.1, borderaxespad=0,
  )  # fmt: skip
