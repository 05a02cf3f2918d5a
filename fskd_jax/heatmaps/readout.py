"""Reads location, confidence mass and covariance out of heat-maps.

The softmax of a heat-map is taken as a distribution over the cells. What lies within
`WINDOW` of its highest cell is its mode: the mean of the mode is the location, its
share of the whole says how sure the detector is, its spread how exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax import geometry
from fskd_jax.config import LossConfig

WINDOW = 0.1
"""Radius of a mode, as a part of the heat-map's side.

Location measured on unseen species and people (docs/prediction.md): as good as the
Taylor expansion of the logarithm (DARK), without its matrix that may be singular."""

_MIN_RADIUS = 1.5
"""Cells; a coarse map must not lose the neighbours of its highest cell."""

_TEMPERATURES = {"cross_entropy": 1.0, "mse": 0.05, "weighted_mse": 0.05}
"""What makes the softmax of a heat-map a distribution, by the loss that trained it.
The 0.05 narrows a bump of height 1, as wide as the target, to the errors measured."""


class Readout(NamedTuple):
  """What heat-maps say.

  Attributes:
    keypoints: [... 2], pixels of the network's input.
    covariance: [... 2 2], of the mode, square pixels of the network's input.
    mass: [...], share of the mode in the distribution, 0..1.
    peak: [...], height of the highest cell.
  """

  keypoints: Float[Array | np.ndarray, "... 2"]
  covariance: Float[Array | np.ndarray, "... 2 2"]
  mass: Float[Array | np.ndarray, "..."]
  peak: Float[Array | np.ndarray, "..."]


def temperature(loss: LossConfig) -> float:
  """Returns the temperature of a detector's heat-maps for `read_out`."""
  return _TEMPERATURES[loss.heatmap]


def read_out(
  heatmaps: Float[Array, "... h w"], stride: float, temperature: float
) -> Readout:
  """Reads heat-maps out.

  Args:
    heatmaps: any float; read in float32.
    stride: of the heat-maps, pixels per cell.
    temperature: the heat-maps are divided by it.
  """
  heatmaps = heatmaps.astype(jnp.float32)
  height, width = heatmaps.shape[-2:]
  flat = heatmaps.reshape(*heatmaps.shape[:-2], height * width)
  rows, columns = np.indices((height, width), np.float32).reshape(2, -1)
  cells = np.stack([columns, rows], axis=-1).reshape((1,) * (flat.ndim - 1) + (-1, 2))

  highest = jnp.take_along_axis(cells, flat.argmax(-1)[..., None, None], axis=-2)
  radius = max(WINDOW * max(height, width), _MIN_RADIUS)
  in_mode = ((cells - highest) ** 2).sum(-1) <= radius**2
  mode = jnp.where(in_mode, jax.nn.softmax(flat / temperature, axis=-1), 0.0)
  mass = mode.sum(-1)
  mode = (mode / mass[..., None])[..., None]
  mean = (mode * cells).sum(-2)
  offsets = cells - mean[..., None, :]
  # Within its cell a keypoint may be anywhere: 1/12 is the variance of that.
  inherent = jnp.eye(2).reshape((1,) * (flat.ndim - 1) + (2, 2)) / 12
  spread = (mode * offsets).mT @ offsets + inherent
  return Readout(
    keypoints=geometry.grid_to_pixels(mean, stride),
    covariance=spread * stride**2,
    mass=mass,
    peak=flat.max(-1),
  )


def pack(found: Readout) -> Float[Array, "... 8"]:
  """Joins the numbers of a keypoint, for what returns one array; see `unpack`."""
  covariance = found.covariance.reshape(*found.mass.shape, 4)
  scores = jnp.stack([found.mass, found.peak], axis=-1)
  return jnp.concatenate([found.keypoints, covariance, scores], axis=-1)


def unpack(packed: Float[np.ndarray, "... 8"]) -> Readout:
  """Inverse of `pack`."""
  return Readout(
    keypoints=packed[..., :2],
    covariance=packed[..., 2:6].reshape(*packed.shape[:-1], 2, 2),
    mass=packed[..., 6],
    peak=packed[..., 7],
  )
