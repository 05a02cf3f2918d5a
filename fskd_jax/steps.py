"""One training step and one evaluation step of one device, as pure functions.

Run under a named device axis they also do the collectives; without a name they are
plain functions. `parallel` is what runs them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from fskd_jax import color, episode, losses, metrics, negatives, optim
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
  batch = with_pixels(batch, store, (detector.image_size, detector.image_size))
  if color_jitter:
    batch = color.jitter_batch(batch, seed, color_jitter)

  def terms(params, batch_stats):
    output, mutated = detector.apply(
      {"params": params, "batch_stats": batch_stats},
      batch,
      train=True,
      rotate_support=rotate_support,
      mutable=["batch_stats"],
      rngs={"dropout": dropout_key(seed, state.step, axis_name)},
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
    terms,
    weights,
    tx=tx,
    freeze_until=detector.config.freeze_until,
    axis_name=axis_name,
  )


def dropout_key(seed: int, step: Int[Array, ""], axis_name: str | None) -> Array:
  """Returns this device's key of a training step, so that a resumed run drops alike."""
  key = jax.random.fold_in(jax.random.key(seed), step)
  return jax.random.fold_in(key, jax.lax.axis_index(axis_name) if axis_name else 0)


def update(
  state: TrainState,
  terms: Callable[[Any, Any], tuple[Mapping[str, tuple[Array, Array]], Any]],
  weights: Mapping[str, float],
  *,
  tx: optax.GradientTransformation,
  freeze_until: str,
  axis_name: str | None,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """Does one update with losses that every device gives as sums and counts.

  Args:
    state: the same on every device.
    terms: (params, batch_stats) -> ({name: (sum, count)} of this device, batch_stats).
    weights: of the terms' global means in the loss, by name.
    tx: the optimiser; leaves frozen parameters alone.
    freeze_until: for parameters frozen by it (`optim.make_optimizer`) no gradient is
      computed or exchanged.
    axis_name: the device axis; None for a single device.

  Returns:
    The new state and metrics: loss, its terms, and the norm of the gradient.
  """
  trained, frozen = optim.split_params(state.params, freeze_until)

  def pmean(tree):
    return jax.lax.pmean(tree, axis_name) if axis_name else tree

  def total_loss(trained, batch_stats):
    found, batch_stats = terms(optim.merge_params(trained, frozen), batch_stats)
    # Local sum over mean count: the mean over devices of these is the global mean.
    counts = pmean({name: count for name, (_, count) in found.items()})
    means = {
      name: total / jnp.where(counts[name] > 0, counts[name], 1.0)
      for name, (total, _) in found.items()
    }
    weighted = sum(weights[name] * mean for name, mean in means.items())
    return weighted, ({"loss": weighted, **means}, batch_stats)

  # Of parameters that are the same everywhere shard_map would sum the gradient over
  # the devices, N times too much for the mean below; of these it does not.
  trained, batch_stats = _per_device((trained, state.batch_stats), axis_name)
  gradients, (values, batch_stats) = jax.grad(total_loss, has_aux=True)(
    trained, batch_stats
  )
  # Taken together, so that XLA makes one collective of them.
  gradients, values, batch_stats = pmean((gradients, values, batch_stats))
  values["gradient_norm"] = optax.tree.norm(gradients)
  gradients = optim.merge_params(gradients, jax.tree.map(jnp.zeros_like, frozen))
  updates, opt_state = tx.update(gradients, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  return TrainState(state.step + 1, params, batch_stats, opt_state), values


def eval_step(
  variables: Mapping[str, Any],
  batch: EpisodeBatch,
  store: resident.ImageStore | None,
  *,
  detector: FewShotDetector,
) -> Float[Array, "b m n 2"]:
  """Returns the predicted keypoints, in pixels of the network's input."""
  batch = with_pixels(batch, store, (detector.image_size, detector.image_size))
  output: Any = detector.apply(variables, batch, train=False)
  heatmaps = fuse_heatmaps(output.heatmaps)
  return metrics.decode(heatmaps, detector.image_size / heatmaps.shape[-1])


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
    loss.mfcl_level,
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


def with_pixels(
  batch: EpisodeBatch, store: resident.ImageStore | None, size: tuple[int, int]
) -> EpisodeBatch:
  """Returns the batch with its pixels: from a store, or as it comes without one."""
  return batch if store is None else resident.materialize(store, batch, size)


def _per_device(tree: Any, axis_name: str | None) -> Any:
  if axis_name is None:
    return tree
  return jax.tree.map(lambda x: jax.lax.pcast(x, axis_name, to="varying"), tree)
