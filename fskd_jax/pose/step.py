"""Training and evaluation step of TransPose on one device, as pure functions."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int32

from fskd_jax import geometry
from fskd_jax.config import LossConfig, PoseConfig
from fskd_jax.config.encoders import Rates
from fskd_jax.device import color
from fskd_jax.episode import PADDING, EpisodeBatch
from fskd_jax.heatmaps import decoding, losses
from fskd_jax.models.transpose import HEATMAP_STRIDE, TransPose
from fskd_jax.training import state as train_state


def train_step(
  state: train_state.TrainState,
  batch: EpisodeBatch,
  *,
  model: TransPose,
  tx: optax.GradientTransformation,
  loss: LossConfig,
  seed: int,
  color_jitter: float = 0.0,
  rates: Rates = (),
  parts: int = 1,
  axis_name: str | None = None,
) -> tuple[train_state.TrainState, dict[str, Float[Array, ""]]]:
  """Performs one update on this device's persons.

  Args:
    state: The state, the same on every device.
    batch: A batch of `PoseSampler`, with one person per episode.
    model: The network, whose batch norm is synchronised over `axis_name`.
    tx: The optimiser.
    loss: The kind and sigma of the targets.
    seed: The seed of dropout and colours.
    color_jitter: The strength of `color.jitter`.
    rates: The factors that `tx` was made with, see `optim.factors`.
    parts: The number of parts of the episodes, see `training.state.update`.
    axis_name: The device axis; None for a single device.

  Returns:
    The new state and metrics: loss, its only term, and the norm of the gradient.
  """
  model = model.clone(axis_name=axis_name)
  batch = color.changed(batch, seed, color_jitter)

  def terms(params, batch_stats, batch, part):
    heatmaps, mutated = model.apply(
      {"params": params, "batch_stats": batch_stats},
      batch.query.images[:, 0],
      train=True,
      mutable=["batch_stats"],
      rngs={"dropout": train_state.dropout_key(seed, state.step, axis_name, part)},
    )
    sigma = loss.target_sigma * model.image_size[0]
    found = heatmap_loss(heatmaps, batch, sigma=sigma, kind=loss.heatmap)
    return {"loss_main": found}, mutated.get("batch_stats", {})

  weights = {"loss_main": loss.main_weight}
  return train_state.update(
    state,
    batch,
    terms,
    weights,
    tx=tx,
    rates=rates,
    parts=parts,
    axis_name=axis_name,
  )


def heatmap_loss(
  heatmaps: Float[Array, "b n h w"], batch: EpisodeBatch, *, sigma: float, kind: str
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Compares heat-maps with the annotated keypoints.

  Args:
    heatmaps: The predictions at `HEATMAP_STRIDE`; logits for "cross_entropy".
    batch: A batch of `PoseSampler`.
    sigma: The standard deviation of the targets, in pixels.
    kind: "mse", half the squared difference to a Gaussian with peak 1 that is not cut
      off; keypoints that are not visible add 0 to the sum but count in the number.
      "cross_entropy", the one in `losses.heatmap_loss`, over visible keypoints.

  Returns:
    The sum over the keypoints, and their number.

  Raises:
    ValueError: `kind` is unknown.

  Source: docs/transpose.md#loss-and-schedule. The original also has a target for a
  keypoint just outside the crop; here such a keypoint is not visible.
  """
  keypoints, visible = batch.query.keypoints[:, 0], batch.query.visible[:, 0]
  if kind != "mse":
    return losses.heatmap_loss(
      heatmaps, keypoints, visible, stride=HEATMAP_STRIDE, sigma=sigma, kind=kind
    )
  num_types, height, width = heatmaps.shape[1:]
  exponents = geometry.gaussian_exponents(
    jnp.asarray(keypoints), (height, width), HEATMAP_STRIDE, sigma
  )
  squares = jnp.square(heatmaps - jnp.exp(-exponents)).mean((-2, -1)) / 2
  persons = (batch.episode_index != PADDING).sum(dtype=jnp.float32)
  return jnp.where(visible, squares, 0.0).sum(), persons * num_types


def eval_step(
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  *,
  model: TransPose,
  loss: LossConfig,
  pose: PoseConfig,
  partners: Int32[np.ndarray, " n"] | None,
) -> Float[Array, "b n 3"]:
  """Returns (x, y, score) in pixels of the network's input; a certain point scores 1.

  Args:
    variables: The variables of the model.
    batch: A batch of `PoseSampler`.
    model: The network.
    loss: The loss that the network was trained with.
    pose: The kind of decoding.
    partners: The result of `sampler.flip_partners`; None leaves the flip test out.
  """
  images = batch.query.images[:, 0]

  def heatmaps(images):
    found: Any = model.apply(variables, images, train=False)
    return score_maps(found, loss)

  found = heatmaps(images)
  if partners is not None:
    found = (found + heatmaps(images[:, :, ::-1])[:, partners, :, ::-1]) / 2
  return keypoints_of(found, pose.decoding)


def keypoints_of(maps: Float[Array, "... h w"], kind: str) -> Float[Array, "... 3"]:
  """Decodes score maps.

  Args:
    maps: Maps as returned by `score_maps`.
    kind: The kind of decoding, see `decoding.decode`.

  Returns:
    (x, y, score): pixels of the network's input, and the map's highest value. A map
    without a positive value has its keypoint in the first cell.

  Source: docs/transpose.md#decoding.
  """
  kept = jnp.where(maps.max((-2, -1), keepdims=True) > 0, maps, 0.0)
  found = decoding.decode(kept, HEATMAP_STRIDE, kind, decoding.BUMP_TEMPERATURE)
  score = maps.max((-2, -1)).astype(jnp.float32)
  return jnp.concatenate([found.keypoints, score[..., None]], axis=-1)


def score_maps(
  heatmaps: Float[Array, "b n h w"], loss: LossConfig
) -> Float[Array, "b n h w"]:
  """Returns maps whose peak is 1 for a certain keypoint, for either loss."""
  if loss.heatmap != "cross_entropy":
    return heatmaps
  return as_targets(heatmaps, loss.target_sigma * heatmaps.shape[-2])


def as_targets(
  logits: Float[Array, "b n h w"], sigma: float
) -> Float[Array, "b n h w"]:
  """Turns logits over the cells into maps like those that "mse" trains.

  The probabilities are divided by the central probability of a Gaussian with standard
  deviation `sigma` (cells), so the peak is 1 if they equal their target.
  """
  flat = logits.reshape(*logits.shape[:-2], -1)
  probabilities = jnp.exp(flat - jax.nn.logsumexp(flat, axis=-1, keepdims=True))
  return (probabilities * (2 * math.pi * sigma**2)).reshape(logits.shape)
