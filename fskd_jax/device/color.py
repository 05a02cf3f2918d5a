"""Colours on the device: another illumination, or a camera that sees no colours."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from fskd_jax.episode import EpisodeBatch

GREY = 128.0

_GREY_STREAM = 7919
"""Added to the seed, so that greyness does not depend on what `jitter` draws."""


def changed(
  batch: EpisodeBatch, seed: int, strength: float, grey_probability: float = 0.0
) -> EpisodeBatch:
  """Returns a batch with the colours of training: jittered, and then perhaps grey.

  Args:
    batch: Episodes with pixels.
    seed: The seed of the run.
    strength: As for `jitter_batch`; 0 leaves it out.
    grey_probability: As for `grey_batch`; 0 leaves it out.
  """
  if strength:
    batch = jitter_batch(batch, seed, strength)
  if grey_probability:
    batch = grey_batch(batch, seed, grey_probability)
  return batch


def jitter_batch(batch: EpisodeBatch, seed: int, strength: float) -> EpisodeBatch:
  """Jitters the colours of every image of a batch independently.

  An image's colours depend only on the seed, the index of its episode and its position
  in the episode, as its sampled negatives do.

  Args:
    batch: Episodes with pixels.
    seed: The seed of the run.
    strength: The strength s of `jitter`.
  """
  shots = batch.support.images.shape[1]

  def jittered(views, first):
    images = jax.vmap(_jitter_episode, in_axes=(0, 0, None, None, None))(
      views.images, batch.episode_index, first, seed, strength
    )
    return views._replace(images=images)

  return batch._replace(
    support=jittered(batch.support, 0), query=jittered(batch.query, shots)
  )


def grey_batch(batch: EpisodeBatch, seed: int, probability: float) -> EpisodeBatch:
  """Makes all views of some episodes grey, and of half of these inverted.

  That is what infrared, X-ray and depth images look like to a network that learned
  from photographs.

  Args:
    batch: Episodes with pixels.
    seed: The seed of the run.
    probability: The probability that an episode is grey; the draw depends on the seed
      and the index of the episode alone.
  """

  def draw(index):
    key = jax.random.fold_in(jax.random.key(seed + _GREY_STREAM), index)
    return jax.random.uniform(key)

  drawn = jax.vmap(draw)(batch.episode_index)[:, None, None, None, None]

  def changed(views):
    # Luma of ITU-R BT.601, as Pillow has it.
    grey = views.images @ jnp.array([0.299, 0.587, 0.114])
    grey = jnp.broadcast_to(grey[..., None], views.images.shape)
    grey = jnp.where(drawn < probability / 2, 255.0 - grey, grey)
    return views._replace(images=jnp.where(drawn < probability, grey, views.images))

  return batch._replace(support=changed(batch.support), query=changed(batch.query))


def jitter(
  key: Array, image: Num[Array, "l l 3"], strength: float
) -> Float[Array, "l l 3"]:
  """Changes contrast, colour balance and brightness.

  Args:
    key: The random key of this image.
    image: RGB, 0..255.
    strength: The range s of the changes: contrast and the gain of each channel are
      drawn log-uniformly from exp(-s)..exp(s), brightness is shifted by up to s * 128.

  Returns:
    RGB, clipped to 0..255.
  """
  draws = jax.random.uniform(key, (5,), minval=-strength, maxval=strength)
  gain = jnp.exp(draws[0] + draws[1:4]).reshape(1, 1, 3)
  return jnp.clip((image - GREY) * gain + GREY * (1 + draws[4]), 0.0, 255.0)


def _jitter_episode(
  images: Num[Array, "t l l 3"],
  index: Int[Array, ""],
  first: int,
  seed: int,
  strength: float,
) -> Float[Array, "t l l 3"]:
  key = jax.random.fold_in(jax.random.key(seed), index)
  places = first + jnp.arange(len(images))
  keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, places)
  return jax.vmap(jitter, in_axes=(0, 0, None))(keys, images, strength)
