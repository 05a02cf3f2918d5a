"""Optimiser: Adam with warm-up, decay and clipping, and a rate for each parameter."""

import re
from typing import Any

import jax
import optax

from fskd_jax.config import OptimConfig
from fskd_jax.config.encoders import Rates


def make_optimizer(
  cfg: OptimConfig, steps: int, rates: Rates | None = None
) -> optax.GradientTransformation:
  """Builds the optimiser.

  Args:
    cfg: The kind of optimiser and its settings.
    steps: Length of the run; the cosine schedule ends there.
    rates: Factors on the learning rate, see `factors`; those of `cfg` by default.
      Parameters with a factor of 0 stay exactly as they are and take no memory.

  Raises:
    ValueError: The optimiser or the schedule is unknown.
  """
  rates = cfg.rates if rates is None else rates
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
  # Only if needed, so that the states of runs without factors keep their structure.
  if any(factor == 0 for _, factor in rates):

    def labels(params: Any) -> Any:
      return jax.tree.map(
        lambda x: "trained" if x else "frozen", factors(params, rates)
      )

    rule = optax.partition({"trained": rule, "frozen": optax.set_to_zero()}, labels)
  if any(factor not in (0, 1) for _, factor in rates):
    rule = optax.chain(rule, _scale(rates))
  return rule


def _scale(rates: Rates) -> optax.GradientTransformation:
  def init(params: Any) -> optax.EmptyState:
    factors(
      params, rates
    )  # a pattern without effect stops the run before its first step
    return optax.EmptyState()

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    scaled = jax.tree.map(lambda x, f: x * f, updates, factors(params, rates))
    return scaled, state

  return optax.GradientTransformation(init, update)


def factors(params: Any, rates: Rates) -> Any:
  """Returns the factor on the learning rate of every parameter, as a tree of floats.

  Args:
    params: Parameters of a network.
    rates: Pairs of a regular expression and a factor. A parameter has the factor of the
      first pattern that its name, such as "encoder/conv1/kernel", begins with, else 1.

  Raises:
    ValueError: A pattern applies to no parameter. The message names the groups.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(params)
  unused, found = [*rates], []
  for path, _ in leaves:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    rate = next((rate for rate in rates if re.match(rate[0], name)), None)
    if rate in unused:
      unused.remove(rate)
    found.append(1.0 if rate is None else rate[1])
  if unused:
    groups = {"/".join(str(key.key) for key in path[:2]) for path, _ in leaves}
    raise ValueError(
      f"optim.rates: {unused[0][0]!r} applies to no parameter, by itself or because an "
      f"earlier pattern (or model.freeze_until) takes its matches; names begin with "
      f"{', '.join(sorted(groups))}"
    )
  return structure.unflatten(found)


def split_params(params: Any, rates: Rates) -> tuple[Any, Any]:
  """Returns the trained and the frozen parameters, each a tree with None elsewhere.

  Args:
    params: Parameters of a network.
    rates: Factors on the learning rate, see `factors`; 0 freezes.

  Raises:
    ValueError: A pattern applies to no parameter.
  """
  is_trained = factors(params, rates)
  trained = jax.tree.map(lambda x, f: x if f else None, params, is_trained)
  frozen = jax.tree.map(lambda x, f: None if f else x, params, is_trained)
  return trained, frozen


def merge_params(trained: Any, frozen: Any) -> Any:
  """Joins the two trees that `split_params` returns."""
  return jax.tree.map(
    lambda a, b: b if a is None else a, trained, frozen, is_leaf=lambda x: x is None
  )


def learning_rate(cfg: OptimConfig, steps: int) -> optax.Schedule:
  """Returns the learning rate by step: a linear warm-up, then constant or cosine.

  Raises:
    ValueError: The schedule is unknown, or the warm-up is as long as the run.
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
  # From 1 / (n + 1) of the rate, not from 0, so that the first step has an effect.
  first = cfg.learning_rate / (cfg.warmup_steps + 1)
  warmup = optax.linear_schedule(first, cfg.learning_rate, cfg.warmup_steps)
  return optax.join_schedules([warmup, main], [cfg.warmup_steps])


def _is_kernel(params: Any) -> Any:
  # Biases and batch norm are not decayed.
  return jax.tree.map(lambda x: x.ndim > 1, params)
