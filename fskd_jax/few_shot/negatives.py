"""Samples background points, the negatives of mean-feature contrastive learning."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fskd_jax import episode
from fskd_jax.config import LossConfig
from fskd_jax.episode import EpisodeBatch

CANDIDATES = 8
"""Number of draws per returned point, in the box and again in the image."""

SMALLEST_BOX = 30 / 384
"""Side of a box, as a fraction of the image side, up to which it is not drawn from.

Source: docs/algorithm.md#negatives: 30 px at 384 px, whatever the smallest distance is.
"""


def sample_negatives(
  key: Array,
  keypoints: Float[Array, "n 2"],
  visible: Bool[Array, " n"],
  *,
  image_size: int,
  num: int,
  distance: float,
  box_scale: float,
) -> Float[Array, "num 2"]:
  """Draws points near the visible keypoints, but not at them, in one image.

  Points are uniform in the box around the visible keypoints and at least `distance`
  from each of them. If too few of a fixed number of draws are, points of the whole
  image that are fill up the rest, then the drawn points farthest from any keypoint.

  Args:
    key: The random key of this image.
    keypoints: The keypoints, in pixels of the network's input.
    visible: Whether each keypoint is annotated.
    image_size: The side of the network's input, in pixels.
    num: The number of points.
    distance: The smallest distance to a visible keypoint, as a fraction of the image
      side.
    box_scale: The factor by which the box is stretched about its centre.

  Returns:
    Points inside the image, in pixels.

  Source: docs/algorithm.md#negatives, with real-valued points. The two fallbacks are
  ours: the original draws whole rounds until enough points are found, and leaves
  points that are missing after the last round at (0, 0).
  """
  gap = distance * image_size
  low, high = sampling_box(keypoints, visible, image_size=image_size, scale=box_scale)
  box_key, image_key = jax.random.split(key)
  shape = (CANDIDATES * num, 2)
  candidates = jnp.concatenate(
    [
      low[None] + (high - low)[None] * jax.random.uniform(box_key, shape),
      (image_size - 1) * jax.random.uniform(image_key, shape),
    ]
  )
  offsets = candidates[:, None] - keypoints[None]
  squares = jnp.where(visible[None], jnp.square(offsets).sum(-1), jnp.inf)
  nearest = squares.min(axis=1)
  # top_k is stable: accepted points come first, as drawn, then the others by gap.
  _, chosen = jax.lax.top_k(jnp.where(nearest >= gap**2, jnp.inf, nearest), num)
  return candidates[chosen]


def sampling_box(
  keypoints: Float[Array, "n 2"],
  visible: Bool[Array, " n"],
  *,
  image_size: int,
  scale: float,
) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
  """Returns the corners of the box to draw from, in pixels.

  This is the box around the visible keypoints, stretched about its centre and clipped
  to the image, or the whole image if fewer than two are visible or a side of the box is
  not longer than `SMALLEST_BOX` of the image side.
  """
  whole = jnp.float32([0.0, 0.0]), jnp.float32([image_size - 1, image_size - 1])
  low = jnp.where(visible[:, None], keypoints, jnp.inf).min(0)
  high = jnp.where(visible[:, None], keypoints, -jnp.inf).max(0)
  is_box = (visible.sum() > 1) & ((high - low + 1).min() > SMALLEST_BOX * image_size)
  center, half = (low + high) / 2, (high - low) / 2 * scale
  low = jnp.where(is_box, jnp.maximum(center - half, whole[0]), whole[0])
  high = jnp.where(is_box, jnp.minimum(center + half, whole[1]), whole[1])
  return low, high


def of_batch(
  batch: EpisodeBatch, loss: LossConfig, seed: int, image_size: int
) -> Float[Array, "b t g 2"]:
  """Draws the negatives of every image of every episode; see `sample_negatives`.

  The points of an image depend only on the seed, the index of its episode and its place
  in the episode, not on the batch, the step or the device.

  Args:
    batch: The episodes; support images come first, then queries.
    loss: The number of points per image, their distance and the scale of the box.
    seed: The seed of the training.
    image_size: The side of the network's input, in pixels.
  """
  views = episode.all_views(batch)

  def of_image(index, position, keypoints, visible):
    key = jax.random.fold_in(jax.random.key(seed), index)
    return sample_negatives(
      jax.random.fold_in(key, position),
      keypoints,
      visible,
      image_size=image_size,
      num=loss.negatives_per_image,
      distance=loss.negative_distance,
      box_scale=loss.negative_box_scale,
    )

  positions = jnp.arange(views.keypoints.shape[1])
  of_episode = jax.vmap(of_image, in_axes=(None, 0, 0, 0))
  return jax.vmap(of_episode, in_axes=(0, None, 0, 0))(
    batch.episode_index, positions, views.keypoints, views.visible
  )
