"""Colours of keypoints and rendering of figures, common to all pictures."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgb

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_HUES = "#e69f00 #56b4e9 #009e73 #f0e442 #2f7fd0 #ff6a3d #d184b4 #cccccc".split()
"""Those of Okabe and Ito, which the colour-blind can tell apart, lighter where they
would be dark in a photograph; those of the page (demo/page/view.js), whose white is
grey here because legends stand on white."""

_DARKEST = 0.4
"""Brightness of the last of many colours, as a fraction of its hue's."""


def keypoint_colors(count: int) -> np.ndarray:
  """Returns [count 3], different colours; after the eighth the hues come darker."""
  rounds = -(-count // len(_HUES))
  dark = np.linspace(1, _DARKEST, max(rounds, 2))[:rounds, None, None]
  return (dark * [to_rgb(hue) for hue in _HUES]).reshape(-1, 3)[:count]


def render(figure: "Figure") -> np.ndarray:
  """Returns the figure's pixels, uint8 [height width 3]."""
  # A quarter of a second, which pictures without plots are spared.
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()
