"""Training and evaluation step of the few-shot detector on one device, pure functions.

With the name of a device axis they also run the collectives. `device.parallel` runs
them on all devices.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from fskd_jax import episode
from fskd_jax.config import LossConfig
from fskd_jax.config.encoders import Rates
from fskd_jax.device import color
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import losses, negatives
from fskd_jax.heatmaps import decoding
from fskd_jax.heatmaps import losses as heatmap_losses
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.heatmaps.prior import Places, Prior
from fskd_jax.models.aggregator import pool_features
from fskd_jax.models.detector import DetectorOutput, FewShotDetector, fuse_heatmaps
from fskd_jax.training.state import TrainState, dropout_key, update


def train_step(
  state: TrainState,
  batch: EpisodeBatch,
  *,
  detector: FewShotDetector,
  tx: optax.GradientTransformation,
  loss: LossConfig,
  seed: int,
  rotate_support: bool,
  color_jitter: float = 0.0,
  grey_probability: float = 0.0,
  rates: Rates = (),
  parts: int = 1,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """Performs one update on this device's episodes.

  Losses are means over everything valid on all devices, so neither the number of
  devices nor the distribution of keypoints over them matters. Only MFCL depends on it:
  it pairs episodes of the same device.

  Args:
    state: The state, the same on every device.
    batch: This device's episodes.
    detector: The network, whose batch norm is synchronised over `axis_name`.
    tx: The optimiser.
    loss: The weights and details of the losses.
    seed: The seed of the sampled negatives and colours.
    rotate_support: Whether every image of an episode is the support once.
    color_jitter: The strength of `color.jitter`.
    grey_probability: The probability of `color.grey_batch`.
    rates: The factors that `tx` was made with, see `optim.factors`.
    parts: The number of parts of the episodes, see `training.state.update`.
    axis_name: The device axis; None for a single device.

  Returns:
    The new state and metrics: loss, its terms, and the norm of the gradient.
  """
  detector = detector.clone(axis_name=axis_name)
  batch = color.changed(batch, seed, color_jitter, grey_probability)

  def terms(params, batch_stats, batch, part):
    output, mutated = detector.apply(
      {"params": params, "batch_stats": batch_stats},
      batch,
      train=True,
      rotate_support=rotate_support,
      mutable=["batch_stats"],
      rngs={"dropout": dropout_key(seed, state.step, axis_name, part)},
    )
    found = _loss_terms(output, batch, detector, loss, seed, rotate_support)
    return found, mutated.get("batch_stats", {})

  weights = {
    "loss_main": loss.main_weight,
    "loss_auxiliary": loss.auxiliary_weight,
    "loss_mfcl": loss.mfcl_weight,
  }
  return update(
    state,
    batch,
    terms,
    weights,
    tx=tx,
    rates=rates,
    parts=parts,
    axis_name=axis_name,
  )


def eval_step(
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  *,
  detector: FewShotDetector,
  reduce: Callable[[DetectorOutput, EpisodeBatch], Any],
) -> Any:
  """Runs the detector on this device's episodes, without training it.

  Args:
    variables: The detector's params and batch_stats.
    batch: This device's episodes, also with maps in the place of images
      (`encoded.EncodedCrops`).
    detector: The network.
    reduce: Function of output and batch that gives the result, such as
      `read_keypoints`.
  """
  output: Any
  if isinstance(batch.query.images, tuple):
    output = detector.apply(variables, batch, method="detect_encoded")
  else:
    output = detector.apply(variables, batch, train=False)
  return reduce(output, batch)


def read_keypoints(
  output: DetectorOutput,
  batch: EpisodeBatch,
  *,
  image_size: int,
  loss: LossConfig,
  kind: str,
  prior: Prior | None = None,
) -> Readout:
  """Decodes the keypoints of an output, [b m n ..].

  Args:
    output: Output of the detector.
    batch: The episodes.
    image_size: The side of the crops, pixels.
    loss: The loss that the detector was trained with.
    kind: The kind of decoding, see `decoding.decode`.
    prior: Prior of all keypoints of an image together; None for none.
  """
  heatmaps = fuse_heatmaps(output.heatmaps)
  stride = image_size / heatmaps.shape[-1]
  support, query = batch.support, batch.query
  places = Places(
    support.keypoints, support.visible, support.box[..., 2:], query.box[..., 2:]
  )
  temperature = decoding.temperature(loss)
  return decoding.decode(heatmaps, stride, kind, temperature, prior, places)


def _loss_terms(
  output: DetectorOutput,
  batch: EpisodeBatch,
  detector: FewShotDetector,
  loss: LossConfig,
  seed: int,
  rotate_support: bool,
) -> dict[str, tuple[Array, Array]]:
  """Returns (sum, count) of every term on this device."""
  labelled = _rotated(batch) if rotate_support else batch
  valid = episode.valid_queries(labelled)
  is_auxiliary = labelled.is_auxiliary[:, None, :]
  terms = {}
  for name, mask in (
    ("loss_main", valid & ~is_auxiliary),
    ("loss_auxiliary", valid & is_auxiliary),
  ):
    per_group = [
      heatmap_losses.heatmap_loss(
        heatmaps,
        labelled.query.keypoints,
        mask,
        stride=detector.image_size / heatmaps.shape[-1],
        sigma=loss.target_sigma * detector.image_size,
        kind=loss.heatmap,
      )
      for heatmaps in output.heatmaps
    ]
    sums, counts = zip(*per_group)
    terms[name] = sum(sums) / len(sums), counts[0]
  if loss.mfcl_weight:
    terms["loss_mfcl"] = _mfcl_term(output.features, batch, detector, loss, seed)
  return terms


def _mfcl_term(
  features: Float[Array, "b t h w c"],
  batch: EpisodeBatch,
  detector: FewShotDetector,
  loss: LossConfig,
  seed: int,
) -> tuple[Array, Array]:
  """Pools features at keypoints and negatives, and contrasts the episodes."""
  views = episode.all_views(batch)
  num_episodes, _, num_types = views.visible.shape
  if num_episodes < 2:
    raise ValueError(
      "loss.mfcl_weight > 0 contrasts pairs of episodes on the same device, but there "
      "is 1 episode per device: raise train.episodes_per_step or set the weight to 0"
    )
  points = views.keypoints
  if loss.negatives_per_image:
    sampled = negatives.of_batch(batch, loss, seed, detector.image_size)
    points = jnp.concatenate([points, sampled], axis=2)
  pooled = pool_features(
    features,
    points,
    image_size=detector.image_size,
    sigma=detector.config.pool_sigma,
    truncate_center=detector.config.truncate_pooling_center,
  )
  return losses.mfcl_loss(
    pooled[:, :, :num_types],
    views.visible,
    batch.keypoint_ids,
    pooled[:, :, num_types:],
    loss.mfcl_temperature,
    loss.mfcl_level,
  )


def _rotated(batch: EpisodeBatch) -> EpisodeBatch:
  """Returns the labels of a batch in which every image is the support once."""
  views = episode.all_views(batch)
  shots, num_images = batch.support.visible.shape[1], views.visible.shape[1]
  views = episode.rotate_support(views, num_images)
  return EpisodeBatch(
    jax.tree.map(lambda x: x[:, :shots], views),
    jax.tree.map(lambda x: x[:, shots:], views),
    keypoint_ids=jnp.repeat(batch.keypoint_ids, num_images, axis=0),
    is_auxiliary=jnp.repeat(batch.is_auxiliary, num_images, axis=0),
    episode_index=jnp.repeat(batch.episode_index, num_images, axis=0),
  )
