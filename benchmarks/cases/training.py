"""(a) The full training step of configs/lightweight.py.

Both sides start with the same weights and the same uint8 images on the device. Ours
samples its negatives within the step; PyTorch is given those points, which saves it
the work. Compared are both losses and the norm of the gradient, of two steps.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.harness import floor
from benchmarks.harness.problem import Builder, Problem, Setup, Side, SkippedError
from benchmarks.opponents import ours, pytorch, torch_literal, torch_twin
from configs import lightweight
from fskd_jax import episode
from fskd_jax.config import Config
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot import negatives
from fskd_jax.models.detector import FewShotDetector

KEYPOINTS, QUERIES = 11, 5
LIMIT = {"float32": 2e-3, "tf32": 5e-2, "bfloat16": 0.3}
"""Random weights make much of rounding: in bfloat16, with 2 episodes of 64 px on a CPU,
PyTorch's losses of the two memory layouts differ by 12 %, and ours from one by 9 %."""

COMPARED = ("loss", "loss_main", "loss_mfcl", "gradient_norm")


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields steps over image size and over episodes."""
  sizes = [(2, 64)]  # episodes, side
  if setup.is_full:
    sizes = [(2, 384), (2, 192), (4, 192), (8, 192)]
  for precision in setup.precisions:
    for number, (count, side) in enumerate(sizes):
      # The loops of the literal variant are measured at the published size.
      yield problem(setup, precision, count, side, with_literal=number == 0)


def problem(
  setup: Setup, precision: str, count: int, side: int, with_literal: bool = False
) -> Problem:
  """Returns the step on images of a side.

  Args:
    setup: of the run.
    precision: one of its precisions.
    count: episodes.
    side: of the images, pixels.
    with_literal: with the loops of the original, too.
  """
  torch_side = functools.partial(pytorch_step, setup, precision, count, side)
  twin = functools.partial(torch_side, torch_twin, torch_twin.LightweightDetector)
  sides: dict[str, dict[str, Builder]] = {
    "ours": {"": lambda: our_step(precision, count, side)},
    "PyTorch": pytorch.variants(twin),
  }
  if setup.device == "gpu":
    compiled = functools.partial(twin, compile_mode="default")
    sides["PyTorch compiled"] = pytorch.variants(compiled)
  if with_literal:
    sides["PyTorch literal"] = pytorch.variants(
      functools.partial(torch_side, torch_literal, torch_literal.LiteralDetector)
    )
  return Problem(
    name=f"step, {count} episodes, {side} px, {precision}",
    variables={"episodes": count, "side": side, "precision": precision},
    sides=sides,
    limit=LIMIT[precision],
    memory=True,
    work=floor.training_step(
      side, count, 1 + QUERIES, KEYPOINTS, floor.WIDTHS[precision]
    ),
    items=count * (1 + QUERIES),
  )


def configuration(precision: str, side: int = 384) -> Config:
  """Returns configs/lightweight.py in a precision, for images of another side."""
  cfg = lightweight.get_config()
  cfg.model = ours.model_config(precision)
  cfg.data.image_size = side
  return cfg


def our_step(
  precision: str, count: int, side: int, keypoints: int = KEYPOINTS, **changes: Any
) -> Side:
  """Compiles our step; `changes` are of the model."""
  cfg = configuration(precision, side)
  cfg.model = ours.model_config(precision, **changes)
  step, state = ours.training_step(cfg)
  batch = ours.episodes(side, count=count, queries=QUERIES, keypoints=keypoints)
  compiled = ours.compiled(step, state, batch, precision=precision, donated=True)
  return compiled._replace(numbers=lambda values: ours.values_of(values, COMPARED))


def sampled_negatives(batch: EpisodeBatch, side: int) -> np.ndarray:
  """Returns the points that our step samples for a batch, [b t g 2]."""
  cfg = lightweight.get_config()

  def sample(batch: EpisodeBatch) -> jax.Array:
    return negatives.of_batch(batch, cfg.loss, cfg.train.seed, side)

  return np.asarray(jax.jit(sample)(batch))


def pytorch_step(
  setup: Setup,
  precision: str,
  count: int,
  side: int,
  losses: Any,
  kind: Any,
  layout: torch.memory_format,
  *,
  keypoints: int = KEYPOINTS,
  compile_mode: str = "",
  **changes: Any,
) -> Side:
  """Prepares the step of a network of PyTorch with the losses of a module.

  Args:
    setup: of the run.
    precision: one of its precisions.
    count: episodes.
    side: of the images, pixels.
    losses: the module.
    kind: class of the network.
    layout: of weights and feature maps.
    keypoints: types of an episode.
    compile_mode: of `torch.compile`; "": it runs eagerly.
    **changes: of the model.

  Raises:
    SkippedError: It would be compiled for a CPU.
  """
  if compile_mode and setup.device == "cpu":
    raise SkippedError("compiled by PyTorch 2.13 for a CPU it corrupts memory")
  cfg = configuration(precision)
  cfg.model = ours.model_config(precision, **changes)
  variables = ours.random_variables(FewShotDetector(cfg.model, side))
  network = pytorch.network(kind, cfg.model, side, variables, layout, setup).train()
  is_literal = kind is torch_literal.LiteralDetector
  if not is_literal:
    pytorch.freeze(network.encoder)
  trained = [x for x in network.parameters() if x.requires_grad]
  rate = cfg.optim.learning_rate
  optimizer = torch.optim.Adam(trained, rate, fused=None if is_literal else True)
  batch = ours.episodes(side, count=count, queries=QUERIES, keypoints=keypoints)
  support, points, visible, query = pytorch.inputs(batch, setup)
  views = episode.all_views(batch)
  valid, answers, all_points, all_visible, ids, background = pytorch.tensors(
    (
      ours.valid(batch),
      batch.query.keypoints,
      views.keypoints,
      views.visible,
      batch.keypoint_ids,
      sampled_negatives(batch, side),
    ),
    setup,
  )

  normalized = pytorch.normalizer(setup)

  def loss() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = normalized(support), normalized(query)
    heatmaps, features = network(images[0], points, visible, images[1])
    sigma = cfg.loss.target_sigma
    main = losses.heatmap_loss(heatmaps, answers, valid, side, sigma)
    mfcl = losses.mfcl_loss(
      network.pool(features, all_points),
      all_visible,
      ids,
      network.pool(features, background),
      cfg.loss.mfcl_temperature,
    )
    return main + cfg.loss.mfcl_weight * mfcl, main, mfcl

  called = pytorch.compiled(loss, compile_mode) if compile_mode else loss

  def run() -> Any:
    with pytorch.arithmetic(precision, setup):
      values = called()
    values[0].backward()
    optimizer.step()
    return pytorch.finish(values)

  def numbers(values: Any) -> list[np.ndarray]:
    return pytorch.arrays([*values, pytorch.gradient_norm(network)])

  return Side(run, numbers, before=optimizer.zero_grad)
