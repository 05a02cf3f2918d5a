"""Decodes heat-maps to keypoints, with the confidence mass and covariance of each.

The softmax of a heat-map is a distribution over the cells. The cells within `WINDOW` of
the highest one are its mode. The mean of the mode is the location, its share of the
distribution measures the confidence, and its covariance the precision.
A `prior.Prior` multiplies the distribution by what the other keypoints say.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax import geometry
from fskd_jax.config import LossConfig
from fskd_jax.heatmaps.dark import dark_offsets
from fskd_jax.heatmaps.prior import Places, Prior, log_prior

KINDS = ("mode", "argmax", "dark")
"""The locations that `decode` offers."""

DEFAULT = "mode"
"""The location that users get: predictions, exported programs, MP-100."""

WINDOW = 0.1
"""Radius of a mode, as a part of the heat-map's side.

Location measured on unseen species and people (docs/prediction.md): as good as the
Taylor expansion of the logarithm (DARK), without its matrix that may be singular."""

_MIN_RADIUS = 1.5
"""Cells; a coarse map must not lose the neighbours of its highest cell."""

BUMP_TEMPERATURE = 0.05
"""Divides heat-maps of bumps with height 1, so that their softmax is a distribution.
It narrows a bump as wide as the target to the errors measured."""


class Readout(NamedTuple):
  """Keypoints read out of heat-maps.

  Attributes:
    keypoints: [... 2], pixels of the network's input.
    covariance: [... 2 2], covariance of the mode, square pixels of the network's input.
    mass: [...], share of the mode in the distribution, 0..1.
    peak: [...], value of the heat-map in the highest cell of the distribution.
  """

  keypoints: Float[Array | np.ndarray, "... 2"]
  covariance: Float[Array | np.ndarray, "... 2 2"]
  mass: Float[Array | np.ndarray, "..."]
  peak: Float[Array | np.ndarray, "..."]


def temperature(loss: LossConfig) -> float:
  """Returns the temperature for `decode` that fits the loss of a detector."""
  return 1.0 if loss.heatmap == "cross_entropy" else BUMP_TEMPERATURE


def decode(
  heatmaps: Float[Array, "... h w"],
  stride: float,
  kind: str,
  temperature: float,
  prior: Prior | None = None,
  places: Places | None = None,
) -> Readout:
  """Finds the keypoint of each heat-map.

  Args:
    heatmaps: Any float; decoded in float32.
    stride: Pixels of the network's input per cell.
    kind: "mode", the mean of the mode; "argmax", the centre of the highest cell, as
      the original detector; or "dark", the highest cell moved by `dark_offsets`.
      Covariance, mass and peak are the same for all kinds.
    temperature: Divides the heat-maps before the softmax.
    prior: Prior of all keypoints of an image together; the heat-maps are [b m n h w]
      then. None for none.
    places: Where the support's keypoints are; needed by the prior alone.

  Raises:
    ValueError: `kind` is unknown, or there is a prior without places.

  Source: docs/algorithm.md#decoding, without its shift of half a pixel, and
  docs/transpose.md#decoding; cells become pixels by `geometry.grid_to_pixels`.
  """
  if kind not in KINDS:
    raise ValueError(f"the decoding of heat-maps must be one of {KINDS}, got {kind!r}")
  heatmaps = heatmaps.astype(jnp.float32)
  height, width = heatmaps.shape[-2:]
  logits = heatmaps / temperature
  if prior is not None:
    if places is None:
      raise ValueError("a prior needs the places of the support's keypoints, got None")
    plain = decode(heatmaps, stride, "mode", temperature)
    modes, masses = jnp.asarray(plain.keypoints), jnp.asarray(plain.mass)
    logits += log_prior(logits, modes, masses, places, stride, prior)
  flat = logits.reshape(*logits.shape[:-2], height * width)
  index = flat.argmax(-1)
  highest = jnp.stack([index % width, index // width], axis=-1)
  mass, mean, covariance = _mode(flat, highest, (height, width))
  values = heatmaps.reshape(flat.shape)
  location = {
    "mode": lambda: mean,
    "argmax": lambda: highest.astype(jnp.float32),
    "dark": lambda: highest + dark_offsets(heatmaps, highest),
  }[kind]()
  return Readout(
    keypoints=geometry.grid_to_pixels(location, stride),
    covariance=covariance * stride**2,
    mass=mass,
    peak=jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0],
  )


def _mode(
  logits: Float[Array, "... c"], highest: Array, size: tuple[int, int]
) -> tuple[Array, Array, Array]:
  """Returns mass, mean and covariance of the mode about each highest cell, in cells."""
  rows, columns = np.indices(size, np.float32).reshape(2, -1)
  leading = (1,) * (logits.ndim - 1)
  cells = np.stack([columns, rows], axis=-1).reshape(*leading, -1, 2)
  radius = max(WINDOW * max(size), _MIN_RADIUS)
  near = ((cells - highest[..., None, :]) ** 2).sum(-1) <= radius**2
  mode = jnp.where(near, jax.nn.softmax(logits, axis=-1), 0.0)
  mass = mode.sum(-1)
  mode = (mode / mass[..., None])[..., None]
  mean = (mode * cells).sum(-2)
  offsets = cells - mean[..., None, :]
  # Within its cell a keypoint may be anywhere: 1/12 is the variance of that.
  inherent = jnp.eye(2).reshape(*leading, 2, 2) / 12
  return mass, mean, (mode * offsets).mT @ offsets + inherent
