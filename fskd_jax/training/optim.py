"""Optimiser: Adam with warm-up, decay and clipping, and frozen parameters."""

from typing import Any

import jax
import optax

from fskd_jax.config import OptimConfig
from fskd_jax.models.resnet import STAGES


def make_optimizer(
  cfg: OptimConfig, steps: int, freeze_until: str = ""
) -> optax.GradientTransformation:
  """Builds the optimiser.

  Args:
    cfg: which, and how fast.
    steps: of the whole run; the cosine schedule ends there.
    freeze_until: encoder stages up to this one stay exactly as they are and take
      no optimiser memory; "" trains everything.

  Raises:
    ValueError: the optimiser, the schedule or the stage is unknown.
  """
  rate = learning_rate(cfg, steps)
  if cfg.optimizer == "adam":
    rule = optax.adam(rate)
  elif cfg.optimizer == "adamw":
    rule = optax.adamw(rate, weight_decay=cfg.weight_decay, mask=_is_kernel)
  else:
    raise ValueError(
      f"optim.optimizer must be 'adam' or 'adamw', got {cfg.optimizer!r}"
    )
  if cfg.clip_norm > 0:
    rule = optax.chain(optax.clip_by_global_norm(cfg.clip_norm), rule)
  if not _frozen_stages(freeze_until):
    return rule

  def labels(params: Any) -> Any:
    trained, frozen = split_params(params, freeze_until)
    return merge_params(
      jax.tree.map(lambda _: "trained", trained),
      jax.tree.map(lambda _: "frozen", frozen),
    )

  return optax.partition({"trained": rule, "frozen": optax.set_to_zero()}, labels)


def split_params(params: Any, freeze_until: str) -> tuple[Any, Any]:
  """Returns the trained and the frozen parameters: the tree with None for the others.

  Args:
    params: of a detector.
    freeze_until: see `make_optimizer`.

  Raises:
    ValueError: the stage is unknown.
  """
  stages = _frozen_stages(freeze_until)
  leaves, structure = jax.tree_util.tree_flatten_with_path(params)
  trained = [None if _stage(path) in stages else leaf for path, leaf in leaves]
  frozen = [leaf if _stage(path) in stages else None for path, leaf in leaves]
  return structure.unflatten(trained), structure.unflatten(frozen)


def merge_params(trained: Any, frozen: Any) -> Any:
  """Puts together what `split_params` took apart."""
  return jax.tree.map(
    lambda a, b: b if a is None else a, trained, frozen, is_leaf=lambda x: x is None
  )


def learning_rate(cfg: OptimConfig, steps: int) -> optax.Schedule:
  """Returns the rate by step: a linear warm-up, then constant or cosine.

  Raises:
    ValueError: the schedule is unknown, or the warm-up is as long as the run.
  """
  if cfg.schedule == "constant":
    main = optax.constant_schedule(cfg.learning_rate)
  elif cfg.schedule == "cosine":
    if cfg.warmup_steps >= steps:
      raise ValueError(
        f"optim.warmup_steps = {cfg.warmup_steps} must be below train.steps = {steps}"
      )
    main = optax.cosine_decay_schedule(
      cfg.learning_rate, steps - cfg.warmup_steps, alpha=cfg.final_rate
    )
  else:
    raise ValueError(
      f"optim.schedule must be 'constant' or 'cosine', got {cfg.schedule!r}"
    )
  # From one part of n + 1, not from 0, so that the first step does something.
  first = cfg.learning_rate / (cfg.warmup_steps + 1)
  warmup = optax.linear_schedule(first, cfg.learning_rate, cfg.warmup_steps)
  return optax.join_schedules([warmup, main], [cfg.warmup_steps])


def _frozen_stages(freeze_until: str) -> tuple[str, ...]:
  stages = ("stem", *STAGES)
  if not freeze_until:
    return ()
  if freeze_until not in stages:
    raise ValueError(
      f"model.freeze_until must be one of {stages} or '', got {freeze_until!r}"
    )
  return stages[: stages.index(freeze_until) + 1]


def _stage(path: tuple[Any, ...]) -> str | None:
  """Returns the encoder stage of a parameter: encoder/layer3_2/.. is in layer3."""
  names = [key.key for key in path if key.key != "backbone"]  # of a `TransPoseEncoder`
  if names[0] != "encoder":
    return None
  return "stem" if names[1] in ("conv1", "bn1") else names[1].split("_")[0]


def _is_kernel(params: Any) -> Any:
  # Biases and batch norm are not decayed.
  return jax.tree.map(lambda x: x.ndim > 1, params)
