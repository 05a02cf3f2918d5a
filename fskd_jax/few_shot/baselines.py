"""Baselines of few-shot detection: copied coordinates and the untrained encoder.

Few-shot: copied support coordinates, and an untrained encoder. Pose: the mean pose.
"""

import dataclasses

import numpy as np

from fskd_jax import geometry
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch


def copy_support(batch: EpisodeBatch) -> np.ndarray:
  """Predicts the support's coordinates, relative to the box, in the query's box.

  Shots are averaged. It uses the query's true box, as no detector does.

  Returns:
    float [b m n 2], pixels of the crops; where no support shows the type, the centre
    of the box.
  """
  support, query = batch.support, batch.query
  points = geometry.apply_affine(
    np.asarray(support.to_original), np.asarray(support.keypoints)
  )
  corner, size = support.box[..., None, :2], support.box[..., None, 2:]
  seen = np.asarray(support.visible)[..., None]
  relative = np.where(seen, (points - corner) / size, 0.0).sum(1)  # [b n 2]
  shots = seen.sum(1)
  relative = np.where(shots > 0, relative / np.maximum(shots, 1), 0.5)
  corner, size = query.box[..., None, :2], query.box[..., None, 2:]
  return geometry.apply_affine(
    geometry.invert_affine(query.to_original), corner + relative[:, None] * size
  )


def untrained_model(model: ModelConfig) -> ModelConfig:
  """Returns the same encoder with nothing learned behind it.

  Prototypes are correlated with the query's features by cosine, so that lengths of
  untrained features do not matter, at stride resolution.
  """
  return dataclasses.replace(
    model,
    kernel_sizes=(1,),
    kernel_generator="prototype",
    bias_net=False,
    similarity="cosine",
    heatmap_upsampling="none",
  )
