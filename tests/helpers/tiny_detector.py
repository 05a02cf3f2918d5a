"""A detector that compiles in a second, and episodes for it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fskd_jax import episode
from fskd_jax.config import ModelConfig
from fskd_jax.models.aggregator import masked_mean, pool_features
from fskd_jax.models.detector import DetectorOutput

SIDE = 16


class TinyDetector(nn.Module):
  """One convolution with batch norm, correlated with prototypes; two groups."""

  config: ModelConfig
  image_size: int
  axis_name: str | None = None
  is_frozen: bool = False

  @nn.compact
  def __call__(self, batch, *, train, rotate_support=False):
    views = episode.all_views(batch)
    shots, (b, t) = batch.support.visible.shape[1], views.images.shape[:2]
    images = views.images.astype(jnp.float32).reshape(b * t, SIDE, SIDE, 3) / 255
    x = nn.Conv(6, (4, 4), (4, 4), name="encoder")(images)
    is_fixed = self.is_frozen or not train
    x = nn.BatchNorm(is_fixed, axis_name=self.axis_name, name="norm")(x)
    x = nn.tanh(x).reshape(b, t, 4, 4, 6)
    roles = x, views.keypoints, views.visible
    if rotate_support:
      roles = episode.rotate_support(roles, t)
    support, keypoints, visible = jax.tree.map(lambda y: y[:, :shots], roles)
    pooled = pool_features(support, keypoints, image_size=SIDE, sigma=0.2)
    prototypes = masked_mean(pooled, visible)
    heatmaps = jnp.einsum("bnc,bmhwc->bmnhw", prototypes, roles[0][:, shots:])
    return DetectorOutput((heatmaps, 0.5 * heatmaps), x)


def detector(**options):
  return TinyDetector(ModelConfig(pool_sigma=0.2, **options), SIDE)


def episodes(b=8, k=1, m=2, n=4, seed=0):
  """Episodes whose valid keypoints are spread unevenly; two share their types."""
  rng = np.random.default_rng(seed)

  def views(t):
    matrix = np.tile(np.eye(2, 3, dtype=np.float32), (b, t, 1, 1))
    return episode.Views(
      images=rng.integers(0, 256, (b, t, SIDE, SIDE, 3)).astype(np.uint8),
      keypoints=rng.uniform(0, SIDE - 1, (b, t, n, 2)).astype(np.float32),
      visible=rng.random((b, t, n)) < np.linspace(0.3, 1, b)[:, None, None],
      to_original=matrix,
      box=np.tile(np.float32([0, 0, SIDE, SIDE]), (b, t, 1)),
      image_size=np.full((b, t, 2), SIDE, np.float32),
      instance=rng.integers(0, 2**40, (b, t)),
    )

  support, query = views(k), views(m)
  query.visible[:2] = False  # nothing to learn from the first two
  ids = np.arange(b)[:, None] // 2 * n + np.arange(n)
  return episode.EpisodeBatch(
    support=support,
    query=query,
    keypoint_ids=ids.astype(np.int32),
    is_auxiliary=np.tile(np.arange(n) >= n - 1, (b, 1)),
    episode_index=np.arange(b, dtype=np.int32) + 100,
  )
