"""Mean-feature contrastive loss as (sum, count); the mean over devices is taken later.

A count is the number of terms of the sum, so that batches, devices and masks of any
size add up to the exact mean over everything that is valid.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from fskd_jax.episode import PADDING
from fskd_jax.models import aggregator

MASKED_LOGIT = -1e9


def pair_loss(
  means: tuple[Float[Array, "n c"], Float[Array, "n c"]],
  seen: tuple[Bool[Array, " n"], Bool[Array, " n"]],
  keypoint_ids: tuple[Int[Array, " n"], Int[Array, " n"]],
  negatives: Float[Array, "g c"],
  temperature: float,
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
  """Contrasts the mean features of two episodes, in both directions.

  Each type must find the same type of the other episode (equal ids) among all its
  types and `negatives`. Similarity is the cosine.

  Args:
    means: The mean feature of each type, in either episode.
    seen: Whether the type was seen in the episode.
    keypoint_ids: The ids of the types; PADDING matches nothing.
    negatives: The features at sampled background points, possibly none (g = 0).
    temperature: The divisor of the cosine.

  Returns:
    The mean over the shared types (0 if there is none), and whether there is one.

  Source: docs/algorithm.md#mfcl, steps 3 to 5.
  """
  first, second = (_unit(m) for m in means)
  negatives = _unit(negatives)
  both_seen = seen[0][:, None] & seen[1][None, :]
  same = both_seen & (keypoint_ids[0][:, None] == keypoint_ids[1][None, :])
  same &= keypoint_ids[0][:, None] != PADDING
  logits = jnp.where(both_seen, first @ second.T / temperature, MASKED_LOGIT)

  def direction(logits, same, anchors):
    rows = jnp.concatenate([logits, anchors @ negatives.T / temperature], axis=1)
    log_probabilities = jax.nn.log_softmax(rows, axis=1)[:, : same.shape[1]]
    return -jnp.where(same, log_probabilities, 0.0).sum()

  total = direction(logits, same, first) + direction(logits.T, same.T, second)
  count = same.sum()
  return total / (2 * jnp.maximum(count, 1)), count > 0


def mfcl_loss(
  features: Float[Array, "b t n c"],
  visible: Bool[Array, "b t n"],
  keypoint_ids: Int[Array, "b n"],
  negatives: Float[Array, "b t g c"] | None,
  temperature: float,
  level: str = "mean",
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Contrasts the mean features of every pair of episodes.

  Types are pushed apart from each other and from the background, and pulled together
  across episodes (species). The negatives of a pair are those of its two episodes.

  Args:
    features: The features pooled at the keypoints of support and query images.
    visible: Whether each keypoint is annotated.
    keypoint_ids: The ids of the types. Equal ids are the same type; PADDING matches
      nothing.
    negatives: The features pooled at background points of the same images.
    temperature: The divisor of the cosine.
    level: "mean" contrasts the means over an episode's images; "instance", an ablation,
      contrasts every image of one episode with every image of the other.

  Returns:
    The sum over the pairs that share a visible type, and their number. Pairs are formed
    within the given episodes, so each device has its own pairs.

  Source: docs/algorithm.md#mfcl. The means leave out images that do not show the type,
  as in the paper's text; the original's code includes them.
  """
  num_episodes, num_images, _, channels = features.shape
  if level == "instance":
    means, seen = (x.reshape(-1, *x.shape[2:]) for x in (features, visible))
    owner = np.repeat(np.arange(num_episodes), num_images)
  else:
    means, seen = aggregator.masked_mean(features, visible), visible.any(1)
    owner = np.arange(num_episodes)
  if negatives is None:
    background = jnp.zeros((num_episodes, 0, channels), jnp.float32)
  else:
    background = negatives.astype(jnp.float32).reshape(num_episodes, -1, channels)
  first, second = np.triu_indices(len(owner), 1)
  across = owner[first] != owner[second]
  first, second = first[across], second[across]

  def pairs(x):
    return x[first], x[second]

  losses, counted = jax.vmap(pair_loss, in_axes=(0, 0, 0, 0, None))(
    pairs(means.astype(jnp.float32)),
    pairs(seen),
    pairs(keypoint_ids[owner]),
    jnp.concatenate(pairs(background[owner]), axis=1),
    temperature,
  )
  return losses.sum(), counted.sum(dtype=jnp.float32)


def _unit(vectors: Float[Array, "... c"]) -> Float[Array, "... c"]:
  # A zero vector (a type that is seen nowhere) stays zero with a harmless gradient.
  squares = jnp.square(vectors).sum(-1, keepdims=True)
  return vectors * jax.lax.rsqrt(jnp.where(squares > 1e-12, squares, 1.0))
