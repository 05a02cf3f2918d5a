"""Attention of a TransPose at its predictions for one photograph."""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from fskd_jax.analysis.attention import maps
from fskd_jax.config import Config, crop_size
from fskd_jax.models.build import Model, make_transpose
from fskd_jax.models.transformer import sine_position_embedding
from fskd_jax.models.transpose import attention_maps
from fskd_jax.pose import step

MAPS = {
  "dependency": (maps.dependency_map, "the regions that each prediction reads"),
  "affected": (maps.affected_map, "the regions that read each predicted location"),
}
"""Kinds of maps: the function of the attention, and a description."""


class Explained(NamedTuple):
  """The predictions of a model for a crop, and their attention.

  Attributes:
    points: The predictions of the n keypoints in pixels of the crop.
    maps: The attention of every layer and keypoint, for every pixel of the crop.
  """

  points: Float[np.ndarray, "n 2"]
  maps: Float[np.ndarray, "layers n H W"]


def explain(
  model: Model,
  crop: UInt8[np.ndarray, "H W 3"],
  kind: str,
  head: int | None = None,
  places: Float[np.ndarray, "p 2"] | None = None,
) -> Explained:
  """Predicts the keypoints of a crop, and maps the attention of their tokens.

  Args:
    model: A TransPose.
    crop: RGB, of the size that the configuration names.
    kind: A key of `MAPS`.
    head: The attention head; None for the mean of all.
    places: Further places in pixels of the crop, which come after the keypoints.
  """
  cfg, variables = model
  size, grid = crop.shape[:2], token_grid(cfg)
  with jax.default_matmul_precision("highest"):
    run = jax.jit(functools.partial(attention_maps, make_transpose(cfg)))
    heatmaps, weights = run(variables, crop[None])
  heatmaps = step.score_maps(heatmaps, cfg.loss)
  found = step.keypoints_of(heatmaps[0], cfg.pose.decoding)
  points = np.asarray(found)[:, :2]
  if places is not None:
    points = np.concatenate([points, places])
  weights = np.asarray(weights)[:, 0]
  weights = weights.mean(1) if head is None else weights[:, head]
  tokens = [maps.token_at(point, size, grid) for point in points]
  cells = np.stack([MAPS[kind][0](weights, token, grid) for token in tokens], axis=1)
  return Explained(points, maps.upsample(cells, size))


def token_grid(cfg: Config) -> tuple[int, int]:
  """Returns the numbers (h, w) of the tokens of a crop."""
  height, width = crop_size(cfg.data)
  (stride,) = cfg.model.strides
  return height // stride, width // stride


def position_similarities(model: Model) -> Float[np.ndarray, "L L"]:
  """Returns the cosines between the position embeddings of all tokens.

  Raises:
    ValueError: The model has no position embedding.
  """
  transformer = model.config.model.transformer
  if transformer.position == "none":
    raise ValueError(f"{model.config.name} has no position embedding")
  if transformer.position == "sine":
    embedding = sine_position_embedding(*token_grid(model.config), transformer.width)
  else:
    embedding = model.variables["params"]["encoder"]["transformer"]["position"]
  return maps.cosine_similarities(embedding)
