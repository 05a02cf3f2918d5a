"""Colours of keypoints and rendering of figures, common to all pictures."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def keypoint_colors(count: int) -> np.ndarray:
  """Returns [count 3], well separated colours."""
  hues = np.linspace(0, 1, count, endpoint=False)
  return matplotlib.colormaps["gist_rainbow"](hues)[:, :3]


def render(figure: Figure) -> np.ndarray:
  """Returns the figure's pixels, uint8 [height width 3]."""
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()
