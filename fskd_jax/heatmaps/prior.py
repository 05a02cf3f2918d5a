"""Prior over the places of keypoints, which all heat-maps of an image make together.

A heat-map shows what a place looks like. How the support's keypoints lie to each other
says where they can be in the query, whatever it looks like there. `placements` gives
hypotheses that place all keypoints of a support image in the query:

* as copied relative to the box,
* by a similarity (rotation, scale, shift), plain or mirrored, that takes two of the
  keypoints to the modes of their heat-maps, for many pairs, or
* nowhere: then the heat-maps alone count.

All heat-maps vote for the hypotheses. The prior of a keypoint is the mixture of the
Gaussians around the places that the hypotheses give it, weighted by the votes of the
others. It is exact inference about one hidden placement, so nothing is iterated, and a
wrong mode is outvoted.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fskd_jax import geometry
from fskd_jax.heatmaps.placements import NEVER, Hypotheses, hypotheses

OUTLIERS = 0.2
"""Probability that a keypoint is elsewhere than the right hypothesis has it; it bounds
both the vote of a heat-map and what the prior may take from a place."""

_CHUNK = 512
"""Keypoints treated at once, so that memory stays bounded for thousands of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
  """Strength and width of the prior, which `few_shot.choice` chooses.

  Attributes:
    strength: Factor on the log-prior, above 0.
    sigma: Standard deviation of a keypoint around its place, as a part of the side of
      the crop, above 0.
  """

  strength: float | Array
  sigma: float | Array


class Places(NamedTuple):
  """Layout of the support's keypoints, and the shapes of all boxes.

  Attributes:
    keypoints: [b k n 2], pixels of the support crops.
    visible: Bool [b k n]; the other keypoints are ignored, whatever is there.
    support_boxes: [b k 2], (width, height) of the box of each support image, in any
      unit.
    query_boxes: [b m 2], the same of each query image. All crops have the box in the
      middle, and one ratio of their side to its longer side. NaN where the box is not
      known: then it has the support's shape.
  """

  keypoints: Float[Array | np.ndarray, "b k n 2"]
  visible: Bool[Array | np.ndarray, "b k n"]
  support_boxes: Float[Array | np.ndarray, "b k 2"]
  query_boxes: Float[Array | np.ndarray, "b m 2"]


def log_prior(
  logits: Float[Array, "b m n h w"],
  modes: Float[Array, "b m n 2"],
  masses: Float[Array, "b m n"],
  places: Places,
  stride: float,
  prior: Prior,
) -> Float[Array, "b m n h w"]:
  """Returns what to add to the logits of heat-maps before they are decoded.

  Of two keypoints only the box speaks, and softly; a single one has zeros, as has what
  no support image shows.

  Args:
    logits: Heat-maps whose softmax over the cells is a distribution.
    modes: Keypoints read out of the logits alone, pixels of the query crops.
    masses: Shares of their modes in the distributions, 0..1.
    places: The keypoints of the support.
    stride: Pixels of the network's input per cell.
    prior: Strength and width.

  Source: our own; docs/pretrained.md#where-as-well-as-what.
  """
  visible = jnp.asarray(places.visible)
  points = jnp.where(visible[..., None], jnp.asarray(places.keypoints), 0.0)
  points = geometry.pixels_to_grid(points, stride)
  middle = np.array([logits.shape[-1] - 1, logits.shape[-2] - 1], np.float32) / 2
  middle = middle.reshape(1, 1, 1, 1, 2)
  copied = middle + (points[:, None] - middle) * _stretch(places)[..., None, :]
  size = logits.shape[-2], logits.shape[-1]
  make = functools.partial(hypotheses, size=size, sigma=prior.sigma * max(size))
  of_episode = jax.vmap(make, in_axes=(0, 0, 0, None, None))
  modes = geometry.pixels_to_grid(modes, stride)
  found = jax.vmap(of_episode)(modes, masses, copied, points, visible)
  chances = jax.nn.softmax(logits, axis=(-2, -1))
  return prior.strength * _mixture(chances, found)


def _stretch(places: Places) -> Float[Array, "b m k 2"]:
  """Returns how many times wider and higher the query's boxes are in their crops."""

  def shapes(sizes: Any) -> Array:
    sizes = jnp.asarray(sizes, jnp.float32)
    return sizes / sizes.max(-1, keepdims=True)

  query, support = shapes(places.query_boxes), shapes(places.support_boxes)
  ratio = query[:, :, None] / support[:, None]
  is_known = (jnp.isfinite(ratio) & (ratio > 0)).all(-1, keepdims=True)
  return jnp.where(is_known, ratio, 1.0)


def _mixture(
  chances: Float[Array, "b m n h w"], found: Hypotheses
) -> Float[Array, "b m n h w"]:
  """Returns the log-density of the keypoints over the cells, relative to its mean.

  Args:
    chances: Distributions over the cells, that vote.
    found: Hypotheses [b m s ..].
  """
  size = chances.shape[-2], chances.shape[-1]

  def vote(args: tuple[Array, ...]) -> Array:
    chance, places, variances, speaks = args
    rows, columns = _densities(places, variances, size)
    mean = (_product(rows, chance) * columns).sum(-1)
    return jnp.log(jnp.where(speaks, (1 - OUTLIERS) * mean + OUTLIERS, 1.0))

  def mix(args: tuple[Array, ...]) -> Array:
    weights, places, variances, speaks = args
    rows, columns = _densities(places, variances, size)
    heard = jnp.where(speaks, weights, 0.0)
    density = _product(rows.T, heard[:, None] * columns) + (weights - heard).sum()
    return jnp.log((1 - OUTLIERS) * density + OUTLIERS)

  def each(function: Callable[[Any], Array], own: Float[Array, "b m n *_"]) -> Array:
    """Applies a function of one keypoint, its own array and what is said about it."""
    said = (
      jnp.moveaxis(x, 2, 3) for x in (found.places, found.variances, found.speaks)
    )
    # One leading axis: with several, XLA multiplies matrices ten times slower on CPUs.
    flat = [x.reshape(-1, *x.shape[3:]) for x in (own, *said)]
    if len(flat[0]) <= _CHUNK:
      result = jax.vmap(function)(flat)
    else:
      result = jax.lax.map(function, flat, batch_size=_CHUNK)
    return result.reshape(*own.shape[:3], *result.shape[1:])

  votes = each(vote, chances)
  of_others = votes.sum(2, keepdims=True) - votes + found.log_share[:, :, None]
  of_others = jnp.where(jnp.moveaxis(found.made_of, 2, 3), NEVER, of_others)
  return each(mix, jax.nn.softmax(of_others, axis=-1))


def _densities(
  places: Float[Array, "s 2"], variances: Float[Array, " s"], size: tuple[int, int]
) -> tuple[Float[Array, "s h"], Float[Array, "s w"]]:
  """Returns Gaussians as rows times columns, relative to the mean over the map."""

  def along(axis: int, count: int) -> Array:
    cells = np.arange(count, dtype=np.float32)[None]
    squares = jnp.square(cells - places[:, axis, None])
    exponents = -squares / (2 * variances[:, None])
    scale = jnp.sqrt(2 * jnp.pi * variances)[:, None]
    return count * jnp.exp(exponents) / scale

  return along(1, size[0]), along(0, size[1])


def _product(left: Array, right: Array) -> Array:
  return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
