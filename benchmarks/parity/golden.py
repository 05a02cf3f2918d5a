"""The JAX model beside outputs of the original code (golden_fskd.npz)."""

import ast
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.parity.cases import (
  CONFIG,
  SIDE,
  SIZES,
  TEMPERATURE,
  Row,
  evaluation,
  make_batch,
  make_views,
  mean,
  normalized_to_pixels,
  relative_error,
  seeded_weights,
  training,
)
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot import losses as few_shot_losses
from fskd_jax.heatmaps import losses
from fskd_jax.interop import torch as torch_names
from fskd_jax.models import aggregator, smd
from fskd_jax.models.kernels import KernelGenerator, Kernels, materialize


def golden_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  """Compares every array of golden_fskd.npz."""
  yield from _part_rows(golden)
  yield from _loss_rows(golden)
  yield from _model_rows(golden)


def _part_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  keypoints, visible = _as_the_original(
    golden["pool_keypoints"], golden["pool_mask"], 384
  )
  pool = functools.partial(
    aggregator.pool_features, image_size=384, sigma=14 / 384, truncate_center=True
  )
  features = golden["pool_features_nchw"].transpose(0, 2, 3, 1)[None]
  pooled = jax.jit(pool)(features, keypoints[None])
  expected = golden["pool_representations_bcn"].transpose(0, 2, 1)
  yield Row("Gaussian pooling", relative_error(pooled[0], expected))
  prototypes = jax.jit(aggregator.masked_mean)(pooled, visible[None])
  expected = golden["pool_prototypes_cn"].T
  yield Row("prototypes", relative_error(prototypes[0], expected))

  # Any encoder of 24 channels: its names and layouts of the generator are the same.
  config = ModelConfig(
    encoder="small", small_widths=(24,) * 4, strides=(8,), freeze_until=""
  )
  prefix = "weight_generator_list.0."
  entries = {
    entry.name.removeprefix(prefix): entry
    for entry in torch_names.detector_table(config)
    if entry.name.startswith(prefix)
  }
  shapes = {name: entries[name].torch_shape for name in golden["kg_keys"].tolist()}
  params: dict[str, Any] = {}
  for name, weight in seeded_weights(shapes).items():
    modules, leaf = entries[name].path[2:-1], entries[name].path[-1]
    module = functools.reduce(lambda d, key: d.setdefault(key, {}), modules, params)
    module[leaf] = entries[name].to_flax(weight)
  apply: Any = KernelGenerator(SIZES).apply
  generate = jax.jit(
    lambda *given: [materialize(group).taps for group in apply(*given)]
  )
  generated = generate({"params": params}, golden["pool_prototypes_cn"].T[None])
  query = golden["smd_query_nchw"].transpose(0, 2, 3, 1)[None]
  errors: dict[str, list[float]] = {"kernels": [], "plain": [], "cosine": []}
  for size, found in zip(SIZES, generated):
    taps = golden[f"kg_kernel_s{size}_nchw"].transpose(0, 2, 3, 1)
    errors["kernels"].append(relative_error(found[0], taps))
    for kind, infix in (("plain", ""), ("cosine", "cosine_")):
      detect = functools.partial(
        smd.detect_keypoints, similarity=kind, plain_scale=50.0
      )
      maps = jax.jit(detect)(query, Kernels(jax.numpy.asarray(taps[None])))
      expected = golden[f"smd_{infix}heatmap_s{size}_bnhw"]
      errors[kind].append(relative_error(maps[0], expected))
  yield Row("kernels", max(errors["kernels"]))
  yield Row("SMD, plain", max(errors["plain"]))
  yield Row("SMD, cosine", max(errors["cosine"]))


def _loss_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  keypoints = normalized_to_pixels(golden["loss_keypoints"], 384)
  keypoints = np.clip(keypoints, 0, 383)
  targets = jax.jit(lambda x: losses.heatmap_targets(x, (48, 48), 8, 14))(keypoints)
  yield Row("targets", relative_error(targets, golden["loss_target_bnhw"]))
  heatmap_loss = functools.partial(losses.heatmap_loss, stride=8, sigma=14, kind="mse")
  loss = jax.jit(heatmap_loss)(
    golden["loss_pred_bnhw"][:, None],
    keypoints[:, None],
    golden["loss_mask"][:, None] > 0,
  )
  yield Row("heat-map loss", relative_error(mean(*loss), golden["loss_value"]))

  means = golden["mfcl_means_scn"].transpose(0, 2, 1)
  seen = golden["mfcl_mask"] > 0
  background = golden["mfcl_negatives_scm"].transpose(0, 2, 1)
  ids = np.arange(means.shape[1])
  pair_loss = jax.jit(few_shot_losses.pair_loss)
  errors = []
  for name, anchors in (
    ("no_negatives", lambda *_: background[0, :0]),
    ("pair_negatives", lambda i, j: background[[i, j]].reshape(-1, means.shape[2])),
    ("all_negatives", lambda *_: background.reshape(-1, means.shape[2])),
  ):
    pairs = [
      pair_loss(
        (means[i], means[j]), (seen[i], seen[j]), (ids, ids), anchors(i, j), TEMPERATURE
      )
      for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    found = np.mean([loss for loss, counted in pairs if counted])
    errors.append(relative_error(found, golden[f"mfcl_{name}"]))
  yield Row("MFCL, three kinds of negatives", max(errors))


def _model_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  weights = golden_weights(golden)
  variables = torch_names.load_state_dict(weights, CONFIG)
  found = evaluation()(variables, golden_batch(golden, all_visible=False))
  yield Row("model: heat-maps, eval", max(golden_heatmap_errors(golden, found)))

  (_, (heatmap, mfcl)), gradient = training()(
    variables["params"],
    variables["batch_stats"],
    golden_batch(golden, all_visible=True),
    golden_negatives(golden),
  )
  expected = golden["model_train_heatmap_loss"]
  yield Row("model: heat-map loss, train", relative_error(heatmap, expected))
  yield Row("model: MFCL, train", relative_error(mfcl, golden["model_train_mfcl"]))
  gradient = torch_names.state_dict(variables | {"params": gradient}, CONFIG)
  yield from gradient_rows(golden, gradient)


def gradient_rows(
  golden: Mapping[str, np.ndarray], gradient: Mapping[str, np.ndarray]
) -> Iterator[Row]:
  """Compares the norms of all gradients, and the few that are there as a whole.

  The original's own rounding (float32) moves single norms by 0.3 % and elements by
  1.6 %, where a ReLU or a maximum flips; hence the wide limits of the last two.
  """
  names, expected = golden["model_grad_norm_keys"].tolist(), golden["model_grad_norms"]
  found = np.array([np.linalg.norm(gradient[name]) for name in names])
  yield Row("model: vector of gradient norms", relative_error(found, expected), 1e-3)
  each = np.abs(found - expected) / expected
  yield Row("model: gradient norms, median", float(np.median(each)), 1e-3)
  yield Row(f"model: gradient norms, worst of {len(each)}", each.max(), 1e-2)
  whole = [
    relative_error(gradient[key.removeprefix("model_grad:")], golden[key])
    for key in golden
    if key.startswith("model_grad:")
  ]
  yield Row(f"model: whole gradients, worst of {len(whole)}", max(whole), 3e-2)


def golden_weights(golden: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Draws the state dict of the whole model."""
  shapes = map(ast.literal_eval, golden["model_shapes"].tolist())
  return seeded_weights(dict(zip(golden["model_keys"].tolist(), shapes)))


def golden_negatives(golden: Mapping[str, np.ndarray]) -> np.ndarray:
  """Returns the negative keypoints of every image, pixels [b t g 2]."""
  return normalized_to_pixels(golden["model_negative_keypoints"], SIDE)


def golden_batch(golden: Mapping[str, np.ndarray], all_visible: bool) -> EpisodeBatch:
  """Builds the two episodes of the whole model, images normalised."""

  def views(part: str) -> Views:
    mask = golden[f"model_{part}_mask"]
    if all_visible:
      mask = np.ones_like(mask)
    keypoints, visible = _as_the_original(golden[f"model_{part}_keypoints"], mask, SIDE)
    images = golden[f"model_{part}_ebchw"].astype(np.float32).transpose(0, 1, 3, 4, 2)
    return make_views(images, keypoints, visible)

  return make_batch(views("support"), views("query"))


def golden_heatmap_errors(golden: Mapping[str, np.ndarray], found: Any) -> list[float]:
  """Compares [b m n h w] of every kernel size."""
  return [
    relative_error(
      np.swapaxes(maps, 1, 2),
      np.swapaxes(golden[f"model_eval_heatmap_s{s}_ebnhw"], 1, 2),
    )
    for s, maps in zip(SIZES, found)
  ]


def _as_the_original(
  keypoints: np.ndarray, mask: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
  """Puts hidden keypoints at the centre; they count where no image shows the type."""
  visible = mask > 0
  pixels = normalized_to_pixels(keypoints, side)
  pixels = np.where(visible[..., None], pixels, np.float32(side / 2))
  return pixels, visible | ~visible.any(-2, keepdims=True)
