"""One training step and one evaluation step of one device, as pure functions.

Run under a named device axis they also do the collectives; without a name they are
plain functions. `parallel` is what runs them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from fskd_jax import color, episode, losses, metrics, negatives
from fskd_jax.config import LossConfig
from fskd_jax.data import resident
from fskd_jax.episode import EpisodeBatch
from fskd_jax.models.aggregator import pool_features
from fskd_jax.models.detector import DetectorOutput, FewShotDetector, fuse_heatmaps


class TrainState(NamedTuple):
  """All that training changes; the same on every device.

  Attributes:
    step: int32 [], updates done.
    params: parameters of the detector.
    batch_stats: its running batch statistics.
    opt_state: of the optimiser.
  """

  step: Int[Array, ""]
  params: Any
  batch_stats: Any
  opt_state: optax.OptState


def init_state(
  variables: Mapping[str, Any], tx: optax.GradientTransformation
) -> TrainState:
  """Returns the state before the first step."""
  return TrainState(
    step=jnp.int32(0),
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=tx.init(variables["params"]),
  )


def train_step(
  state: TrainState,
  batch: EpisodeBatch,
  store: resident.ImageStore | None,
  *,
  detector: FewShotDetector,
  tx: optax.GradientTransformation,
  loss: LossConfig,
  seed: int,
  rotate_support: bool,
  color_jitter: float = 0.0,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """Does one update on this device's episodes.

  Losses are means over what is valid on all devices together, so neither the number
  of devices nor how the keypoints spread over them matters. MFCL alone pairs only
  episodes of the same device.

  Args:
    state: the same on every device.
    batch: this device's episodes.
    store: where the images of `batch` are when it holds their numbers.
    detector: batch norm is synchronised over `axis_name`.
    tx: the optimiser.
    loss: weights and details of the losses.
    seed: of the sampled negatives and colours.
    rotate_support: let every image of an episode be the support once.
    color_jitter: see `color.jitter`.
    axis_name: the device axis; None for a single device.

  Returns:
    The new state and metrics: loss, its terms, and the norm of the gradient.
  """
  detector = detector.clone(axis_name=axis_name)
  batch = _with_pixels(batch, store, detector.image_size)
  if color_jitter:
    batch = color.jitter_batch(batch, seed, color_jitter)

  def pmean(tree):
    return jax.lax.pmean(tree, axis_name) if axis_name else tree

  def total_loss(params, batch_stats):
    output, mutated = detector.apply(
      {"params": params, "batch_stats": batch_stats},
      batch,
      train=True,
      rotate_support=rotate_support,
      mutable=["batch_stats"],
    )
    terms = _loss_terms(output, batch, detector, loss, seed, rotate_support)
    # Local sum over mean count: the mean over devices of these is the global mean.
    counts = pmean({name: count for name, (_, count) in terms.items()})
    means = {
      name: total / jnp.where(counts[name] > 0, counts[name], 1.0)
      for name, (total, _) in terms.items()
    }
    weighted = (
      loss.main_weight * means["loss_main"]
      + loss.auxiliary_weight * means["loss_auxiliary"]
      + loss.mfcl_weight * means.get("loss_mfcl", 0.0)
    )
    return weighted, ({"loss": weighted, **means}, mutated.get("batch_stats", {}))

  # Of parameters that are the same everywhere shard_map would sum the gradient over
  # the devices, N times too much for the mean below; of these it does not.
  params, batch_stats = _per_device((state.params, state.batch_stats), axis_name)
  gradients, (values, batch_stats) = jax.grad(total_loss, has_aux=True)(
    params, batch_stats
  )
  gradients, values, batch_stats = pmean((gradients, values, batch_stats))
  updates, opt_state = tx.update(gradients, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  values["gradient_norm"] = optax.tree.norm(gradients)
  return TrainState(state.step + 1, params, batch_stats, opt_state), values


def eval_step(
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  store: resident.ImageStore | None,
  *,
  detector: FewShotDetector,
) -> Float[Array, "b m n 2"]:
  """Returns the predicted keypoints, in pixels of the network's input."""
  batch = _with_pixels(batch, store, detector.image_size)
  output: Any = detector.apply(variables, batch, train=False)
  return metrics.decode(fuse_heatmaps(output.heatmaps), detector.image_size)


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
      losses.heatmap_loss(
        heatmaps,
        labelled.query.keypoints,
        mask,
        image_size=detector.image_size,
        sigma=loss.target_sigma,
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
  """Pools at keypoints and negatives of every image, and contrasts the episodes."""
  views = episode.all_views(batch)
  num_episodes, _, num_types = views.visible.shape
  if num_episodes < 2:
    raise ValueError(
      "loss.mfcl_weight > 0 contrasts pairs of episodes on the same device, but there "
      "is 1 episode per device: raise train.episodes_per_step or set the weight to 0"
    )
  points = views.keypoints
  if loss.negatives_per_image:
    sampled = negatives.sample_batch_negatives(
      seed,
      batch.episode_index,
      views.keypoints,
      views.visible,
      image_size=detector.image_size,
      num=loss.negatives_per_image,
      distance=loss.negative_distance,
      box_scale=loss.negative_box_scale,
    )
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
  )


def _rotated(batch: EpisodeBatch) -> EpisodeBatch:
  """Gives the labels of a batch whose images take every place in turn."""
  views = episode.all_views(batch)
  shots, num_images = batch.support.visible.shape[1], views.visible.shape[1]
  views = episode.rotate_support(views, num_images)
  return EpisodeBatch(
    jax.tree.map(lambda x: x[:, :shots], views),
    jax.tree.map(lambda x: x[:, shots:], views),
    *(jnp.repeat(field, num_images, axis=0) for field in batch[2:]),
  )


def _with_pixels(
  batch: EpisodeBatch, store: resident.ImageStore | None, image_size: int
) -> EpisodeBatch:
  return batch if store is None else resident.materialize(store, batch, image_size)


def _per_device(tree: Any, axis_name: str | None) -> Any:
  if axis_name is None:
    return tree
  return jax.tree.map(lambda x: jax.lax.pcast(x, axis_name, to="varying"), tree)
