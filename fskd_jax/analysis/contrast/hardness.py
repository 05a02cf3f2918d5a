"""Measures the hardness of sampled negatives over alpha, rho and N_neg (figure 2).

Hardness is the cosine between the feature at a keypoint (the anchor) and those at the
negatives of the same image: the mean over the negatives, and the largest.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from matplotlib.figure import Figure

from fskd_jax import episode
from fskd_jax.analysis.contrast.features import reader, unit
from fskd_jax.config import Config, LossConfig
from fskd_jax.data.feed import Feed
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import negatives

VALUES: dict[str, tuple[float, ...]] = {
  "negative_box_scale": (0.8, 1.15, 1.5, 2.0),
  "negative_distance": (10 / 384, 30 / 384, 40 / 384, 60 / 384),
  "negatives_per_image": (5, 10, 20, 30),
}
"""Values of each varied field; the other fields are as in the paper. Source: the
supplement's figure 2."""

_LABELS = {
  "negative_box_scale": ("α", 1.0),
  "negative_distance": ("ρ, px of 384", 384.0),
  "negatives_per_image": ("N_neg", 1.0),
}
PAPER = {
  "negative_box_scale": 1.15,
  "negative_distance": 30 / 384,
  "negatives_per_image": 10,
}


def settings(loss: LossConfig) -> dict[tuple[str, float], LossConfig]:
  """Returns the paper's settings with one field varied at a time."""
  paper = dataclasses.replace(loss, **PAPER)
  return {
    (field, value): dataclasses.replace(paper, **{field: value})
    for field, values in VALUES.items()
    for value in values
  }


def draw_points(
  batch: EpisodeBatch, cfg: Config
) -> dict[tuple[str, float], Float[np.ndarray, "b t g 2"]]:
  """Returns the negatives of a batch under every setting."""
  losses = settings(cfg.loss)
  draw = jax.jit(lambda batch: _sample_negatives(batch, cfg))
  return dict(zip(losses, map(np.asarray, draw(batch))))


def _sample_negatives(batch: EpisodeBatch, cfg: Config) -> list[Array]:
  """Returns the negatives [b t g 2] of a batch under every setting."""
  seed, side = cfg.train.seed, cfg.data.image_size
  return [negatives.of_batch(batch, x, seed, side) for x in settings(cfg.loss).values()]


def measure(
  cfg: Config,
  variables: Any,
  feed: Feed,
  batches: Sequence[EpisodeBatch],
  progress: Callable[[Any], Any] = lambda x: x,
) -> dict[str, dict[float, dict[str, float]]]:
  """Measures the hardness under every setting, on the same images.

  Args:
    cfg: The configuration of the network; its training seed draws the points.
    variables: The variables of the network.
    feed: The feed that has the pixels of the batches.
    batches: Batches of episodes.
    progress: A wrapper of the list of batches, to show progress.

  Returns:
    The "mean" and "hardest" cosine, averaged over the keypoints, by field and value.
  """
  losses = settings(cfg.loss)

  def all_points(batch: EpisodeBatch) -> Array:
    anchors = episode.all_views(batch).keypoints
    return jnp.concatenate([anchors, *_sample_negatives(batch, cfg)], axis=2)

  read = reader(cfg, feed, all_points)
  cosines = np.concatenate(
    [
      anchor_cosines(
        read(variables, batch),
        np.asarray(episode.all_views(batch).visible),
      )
      for batch in progress(batches)
    ]
  )
  ends = np.cumsum([loss.negatives_per_image for loss in losses.values()])
  found: dict[str, dict[float, dict[str, float]]] = {field: {} for field in VALUES}
  for (field, value), part in zip(losses, np.split(cosines, ends[:-1], axis=1)):
    found[field][value] = {
      "mean": float(part.mean()),
      "hardest": float(part.max(-1).mean()),
    }
  return found


def anchor_cosines(
  features: Float[np.ndarray, "b t g c"], visible: Bool[np.ndarray, "b t n"]
) -> Float[np.ndarray, "i g"]:
  """Returns the cosines between every visible keypoint and its image's negatives.

  Args:
    features: The features at the n keypoints of each image, then at its negatives.
    visible: Whether each of the n keypoints is visible.
  """
  vectors, count = unit(features), visible.shape[-1]
  anchors, others = vectors[:, :, :count], vectors[:, :, count:]
  return np.einsum("btnc,btgc->btng", anchors, others)[visible]


def draw(
  image: UInt8[np.ndarray, "l l 3"],
  keypoints: Float[np.ndarray, "n 2"],
  drawn: Mapping[tuple[str, float], Float[np.ndarray, "g 2"]],
  found: Mapping[str, Mapping[float, Mapping[str, float]]],
) -> Figure:
  """Draws the negatives of an image under every setting, one row per field.

  Args:
    image: The image as the network sees it.
    keypoints: The visible keypoints, pixels of the image.
    drawn: The negatives by field and value, pixels of the image.
    found: The result of `measure`.
  """
  columns = max(map(len, VALUES.values()))
  figure = Figure(figsize=(2.2 * columns + 3.2, 7.2), layout="constrained", dpi=100)
  ratios = [1.0] * columns + [1.4]
  axes = figure.subplots(len(VALUES), columns + 1, width_ratios=ratios)
  for line, (field, values) in zip(axes, VALUES.items()):
    label, scale = _LABELS[field]
    shown = [scale * value for value in values]
    for axis, value, number in zip(line, values, shown):
      axis.imshow(image)
      axis.scatter(*keypoints.T, s=22, c="yellow", edgecolors="black", linewidths=0.6)
      axis.scatter(*drawn[field, value].T, s=16, c="red", marker="x", linewidths=1.2)
      side = image.shape[0]
      axis.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
      axis.set_xticks([])
      axis.set_yticks([])
      axis.set_title(f"{label} = {number:g}", fontsize=9)
    for kind in ("mean", "hardest"):
      cosines = [found[field][value][kind] for value in values]
      line[-1].plot(shown, cosines, "o-", label=f"{kind} negative")
    line[-1].set_xlabel(label)
    line[-1].set_ylabel("cosine to the anchor")
  axes[0, -1].legend(fontsize=8)
  return figure
