"""Hypotheses of where all keypoints of a support image are in a query image.

Everything is in cells of the query's heat-maps: (x, y), the first cell at (0, 0).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

PAIRS = 64
"""Most pairs of keypoints tried, over all support images: those far apart and sure."""

CANDIDATES = 24
"""Surest keypoints of a support image, of which pairs are made."""

BOX_SPREADS = 0.05, 0.125, 0.25
"""Standard deviations around copied coordinates, parts of the map's longer side: some
objects stand alike, others only roughly."""

ENOUGH = 8
"""Other keypoints that the box needs to be believed as `SHARES` says; with fewer that
could contradict it, it is believed as much less."""

SHARES = {"nothing": 0.75, "box": 0.125, "plain": 0.1125, "mirrored": 0.0125}
"""Probability of each kind of hypothesis before the heat-maps are seen."""

SCALE_SPREAD, SHIFT_SPREAD = 0.5, 0.2
"""Standard deviations of similarities: logarithm of the scale, and shift of the centre
of the map in parts of its side. Every rotation is as likely as any other."""

CELL_VARIANCE = 0.25
"""Added to all variances: a Gaussian much narrower than a cell would fall between."""

NEVER = -1e9
"""Log-probability of what cannot be; finite, so that nothing becomes NaN."""


class Hypotheses(NamedTuple):
  """Placements of n keypoints.

  Attributes:
    places: Where each keypoint is.
    variances: Variance of the Gaussian around there.
    speaks: Whether the hypothesis says anything about a keypoint.
    made_of: Whether it was made of the keypoint's own mode, which then cannot confirm
      it.
    log_share: Log-probability before the heat-maps are seen.
  """

  places: Float[Array, "s n 2"]
  variances: Float[Array, "s n"]
  speaks: Bool[Array, "s n"]
  made_of: Bool[Array, "s n"]
  log_share: Float[Array, " s"]


def hypotheses(
  modes: Float[Array, "n 2"],
  masses: Float[Array, " n"],
  copied: Float[Array, "k n 2"],
  keypoints: Float[Array, "k n 2"],
  visible: Bool[Array, "k n"],
  size: tuple[int, int],
  sigma: float | Array,
) -> Hypotheses:
  """Returns the placements to choose from.

  Args:
    modes: Highest places of the query's heat-maps.
    masses: Shares of the modes in their heat-maps, 0..1.
    copied: The support's keypoints, copied relative to the box.
    keypoints: The support's keypoints in its own crop, finite everywhere.
    visible: Which keypoints each support image shows; an image that shows none is as
      if it were not there.
    size: (h, w) of the heat-maps.
    sigma: Standard deviation of a keypoint.
  """
  shots, types = visible.shape
  log_shots = jnp.log(jnp.maximum(visible.any(1).sum(), 1))
  found = [_as_copied(copied, visible, log_shots, max(size))]
  # Padding the shots to a power of two, as predictions do, must not change anything.
  most = max(PAIRS >> (shots - 1).bit_length(), 1)
  for shot in range(shots) if types > 1 else ():
    first, second, usable = _pairs(masses, keypoints[shot], visible[shot], most)
    mirror = keypoints[shot] * np.array([[-1, 1]]) + np.array([[size[1] - 1, 0]])
    for points, kind in ((keypoints[shot], "plain"), (mirror, "mirrored")):
      made = _similarities(
        modes, points, visible[shot], first, second, usable, size, sigma
      )
      share = made.log_share + np.log(SHARES[kind]) - log_shots
      found.append(made._replace(log_share=share))
  return Hypotheses(*(jnp.concatenate(field) for field in zip(*found)))


def _as_copied(
  copied: Float[Array, "k n 2"],
  visible: Bool[Array, "k n"],
  log_shots: Float[Array, ""],
  side: int,
) -> Hypotheses:
  """Returns the hypotheses of the box, and the one that says nothing."""
  (shots, types), widths = visible.shape, len(BOX_SPREADS)
  others = visible.sum(1) - 1
  belief = jnp.clip(others / ENOUGH, 1e-6, 1.0) * SHARES["box"] / widths
  box_share = jnp.where(others > 0, jnp.log(belief) - log_shots, NEVER)
  spreads = side * np.repeat([*BOX_SPREADS, 1.0], [shots] * widths + [1])
  variances = jnp.asarray(np.square(spreads) + CELL_VARIANCE, jnp.float32)
  places = jnp.concatenate([jnp.tile(copied, (widths, 1, 1)), copied[:1]])
  return Hypotheses(
    places,
    jnp.broadcast_to(variances[:, None], places.shape[:2]),
    jnp.concatenate([jnp.tile(visible, (widths, 1)), jnp.zeros((1, types), bool)]),
    jnp.zeros(places.shape[:2], bool),
    jnp.append(jnp.tile(box_share, widths), np.log(SHARES["nothing"])),
  )


def _pairs(
  masses: Float[Array, " n"],
  keypoints: Float[Array, "n 2"],
  visible: Bool[Array, " n"],
  most: int,
) -> tuple[Int[Array, " p"], Int[Array, " p"], Bool[Array, " p"]]:
  """Returns pairs of sure keypoints that are far apart, and which are usable."""
  count = min(len(masses), CANDIDATES)
  _, surest = jax.lax.top_k(jnp.where(visible, masses, -1.0), count)
  first, second = (surest[rows] for rows in np.triu_indices(count, 1))
  distances = jnp.square(keypoints[first] - keypoints[second]).sum(-1)
  value = masses[first] * masses[second] * distances
  value = jnp.where(visible[first] & visible[second], value, 0.0)
  best, rows = jax.lax.top_k(value, min(most, len(value)))
  return first[rows], second[rows], best > 0


def _similarities(
  modes: Float[Array, "n 2"],
  points: Float[Array, "n 2"],
  visible: Bool[Array, " n"],
  first: Int[Array, " p"],
  second: Int[Array, " p"],
  usable: Bool[Array, " p"],
  size: tuple[int, int],
  sigma: float | Array,
) -> Hypotheses:
  """Returns the similarities that take pairs of points to their modes.

  A place is as uncertain as the two modes make it: more so far away from both, or
  where they are near each other.
  """
  middle = np.array([[[size[1] - 1, size[0] - 1]]], np.float32) / 2
  start, course = modes[first][:, None], (modes[second] - modes[first])[:, None]
  origin, axis = points[first][:, None], (points[second] - points[first])[:, None]
  squared = jnp.square(axis).sum(-1)
  length = jnp.where(squared > 0, squared, 1.0)

  def seen(targets: Array | np.ndarray) -> Array:
    """Returns points in the frame of each pair: (0, 0) the first, (1, 0) the second."""
    offset = targets - origin
    along = (axis * offset).sum(-1)
    across = axis[..., 0] * offset[..., 1] - axis[..., 1] * offset[..., 0]
    return jnp.stack([along, across], axis=-1) / length[..., None]

  def placed(frame: Array) -> Array:
    turned = jnp.stack([-course[..., 1], course[..., 0]], axis=-1)
    return start + frame[..., :1] * course + frame[..., 1:] * turned

  frame = seen(points[None])
  spread = jnp.square(frame).sum(-1) + jnp.square(frame - np.array([[[1, 0]]])).sum(-1)
  shift = jnp.square(placed(seen(middle)) - middle).sum((1, 2)) / max(size) ** 2
  scale = jnp.log((jnp.square(course).sum(-1) + 1e-6) / length)[:, 0] / 2
  log_share = -(jnp.square(scale / SCALE_SPREAD) + shift / SHIFT_SPREAD**2) / 2
  log_share -= jnp.log(jnp.maximum(usable.sum(), 1))
  types = np.arange(len(visible))[None]
  return Hypotheses(
    placed(frame),
    sigma**2 * (1 + spread) + CELL_VARIANCE,
    jnp.broadcast_to(visible[None], frame.shape[:2]),
    (types == first[:, None]) | (types == second[:, None]),
    jnp.where(usable, log_share, NEVER),
  )
