"""Episodes of random annotations, without pixels."""

import numpy as np

from fskd_jax import episode

SIDE = 64
"""Side of the crops, pixels."""


def batch(rng, b, k, m, n):
  """Returns b episodes of n types in random order, k support and m query images each.

  Crops are turned and scaled, and three of ten keypoints are hidden.
  """
  return episode.EpisodeBatch(
    support=_views(rng, b, k, n),
    query=_views(rng, b, m, n),
    keypoint_ids=np.stack([rng.permutation(n) for _ in range(b)]).astype(np.int32),
    is_auxiliary=np.zeros((b, n), bool),
    episode_index=np.arange(b, dtype=np.int32),
  )


def _views(rng, b, t, n):
  angle = rng.uniform(-1, 1, (b, t))
  scale = rng.uniform(0.5, 3, (b, t))
  cos, sin = scale * np.cos(angle), scale * np.sin(angle)
  shift = rng.uniform(-5, 5, (2, b, t))
  matrix = np.stack([cos, -sin, shift[0], sin, cos, shift[1]], -1)
  return episode.Views(
    images=np.zeros((b, t), np.int32),
    keypoints=rng.uniform(0, SIDE - 1, (b, t, n, 2)).astype(np.float32),
    visible=rng.random((b, t, n)) < 0.7,
    to_original=matrix.reshape(b, t, 2, 3).astype(np.float32),
    box=rng.uniform(20, 90, (b, t, 4)).astype(np.float32),
    image_size=rng.uniform(100, 200, (b, t, 2)).astype(np.float32),
    instance=rng.integers(0, 1000, (b, t)),
  )
