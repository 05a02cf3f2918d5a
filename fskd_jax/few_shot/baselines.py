"""Baselines of few-shot detection: copied coordinates and the untrained encoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from fskd_jax import geometry
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch


def copy_support(batch: EpisodeBatch) -> np.ndarray:
  """Predicts the support's coordinates, relative to the box, in the query's box.

  Shots are averaged. Unlike detectors, it uses the query's true box.

  Returns:
    float [b m n 2], pixels of the crops; the centre of the box for types that no
    support shows.
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
  """Returns the same encoder without learned layers after it.

  Prototypes are correlated with the query's features by cosine, so that the lengths of
  untrained features do not matter, without up-sampling.
  """
  return dataclasses.replace(
    model,
    kernel_sizes=(1,),
    kernel_generator="prototype",
    bias_net=False,
    similarity="cosine",
    heatmap_upsampling="none",
  )


def frozen_maps(fresh: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
  """Returns variables with which the head sees only the frozen maps of an encoder.

  Args:
    fresh: Randomly initialised variables of the model, which has frozen maps
      beside its pyramid's (`PyramidConfig`).
    trained: Variables of the trained model, in which these maps are unchanged.
  """
  known = traverse_util.flatten_dict(dict(trained))
  kept: dict[tuple[str, ...], Any] = {}
  for key, x in traverse_util.flatten_dict(dict(fresh)).items():
    if key[1:3] == ("encoder", "backbone"):
      kept[key] = known[key]
    elif key[1:2] == ("encoder",):
      kept[key] = np.zeros(x.shape, x.dtype)  # the pyramid's maps, whose length is 0
    else:
      kept[key] = x
  return traverse_util.unflatten_dict(kept)
