"""Training state and its update."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from fskd_jax.config.encoders import Rates
from fskd_jax.training import optim


class TrainState(NamedTuple):
  """Everything that training changes, the same on every device.

  Attributes:
    step: Number of updates done, int32 [].
    params: Parameters of the network.
    batch_stats: Running batch statistics of the network; {} if it has none.
    opt_state: State of the optimiser.
  """

  step: Int[Array, ""]
  params: Any
  batch_stats: Any
  opt_state: optax.OptState


def init_state(
  variables: Mapping[str, Any], tx: optax.GradientTransformation
) -> TrainState:
  """Returns the state before the first step.

  Args:
    variables: {"params"}, and {"batch_stats"} if the network has any.
    tx: The optimiser.
  """
  return TrainState(
    step=jnp.int32(0),
    params=variables["params"],
    batch_stats=variables.get("batch_stats", {}),
    opt_state=tx.init(variables["params"]),
  )


def dropout_key(
  seed: int,
  step: Int[Array, ""],
  axis_name: str | None,
  part: Int[Array, ""] | None = None,
) -> Array:
  """Returns this device's dropout key of a step, the same after a resume.

  Args:
    seed: The seed of the training.
    step: The step.
    axis_name: The device axis; None for a single device.
    part: The number of the part of the episodes; None if they are not divided.
  """
  key = jax.random.fold_in(jax.random.key(seed), step)
  key = jax.random.fold_in(key, jax.lax.axis_index(axis_name) if axis_name else 0)
  return key if part is None else jax.random.fold_in(key, part)


Terms = Callable[..., tuple[Mapping[str, tuple[Array, Array]], Any]]
"""Function (params, batch_stats, batch, part) -> ({name: (sum, count)} over the batch,
new batch_stats). Counts depend on the batch alone; part is as for `dropout_key`."""


def update(
  state: TrainState,
  batch: Any,
  terms: Terms,
  weights: Mapping[str, float],
  *,
  tx: optax.GradientTransformation,
  rates: Rates = (),
  parts: int = 1,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """Performs one update with losses that every device gives as sums and counts.

  Args:
    state: The state, the same on every device.
    batch: This device's episodes, a tree of arrays [b ..].
    terms: The losses of this device.
    weights: Weight of each term's global mean in the loss, by name.
    tx: The optimiser, which leaves frozen parameters alone.
    rates: The factors that `tx` was made with, see `optim.factors`. No gradient is
      computed or exchanged for parameters with a factor of 0.
    parts: The number of parts that the episodes are divided into, which must divide b.
      Their gradients are added up one after the other, so that the activations of one
      part alone are in memory. Means are over all parts, as on more devices; batch norm
      that is not frozen normalises every part by itself.
    axis_name: The device axis; None for a single device.

  Returns:
    The new state and metrics: loss, its terms, and the norm of the gradient.
  """
  trained, frozen = optim.split_params(state.params, rates)

  def pmean(tree):
    return jax.lax.pmean(tree, axis_name) if axis_name else tree

  def found_in(trained, batch_stats, batch, part=None):
    return terms(optim.merge_params(trained, frozen), batch_stats, batch, part)

  def total_loss(trained, batch_stats, batch, part=None, counts=None):
    found, batch_stats = found_in(trained, batch_stats, batch, part)
    if counts is None:
      # Local sum over mean count; its mean over devices is the global mean.
      counts = pmean({name: count for name, (_, count) in found.items()})
    means = {
      name: total / jnp.where(counts[name] > 0, counts[name], 1.0)
      for name, (total, _) in found.items()
    }
    weighted = sum(weights[name] * mean for name, mean in means.items())
    return weighted, ({"loss": weighted, **means}, batch_stats)

  # For replicated parameters shard_map would sum the gradient over the N devices, and
  # the mean below would be N times too large; for per-device parameters it does not.
  trained, batch_stats = _per_device((trained, state.batch_stats), axis_name)
  differentiate = jax.grad(total_loss, has_aux=True)
  if parts == 1:
    gradients, (values, batch_stats) = differentiate(trained, batch_stats, batch)
  else:
    gradients, values, batch_stats = _over_parts(
      found_in, differentiate, pmean, trained, batch_stats, batch, parts, axis_name
    )
  # One call, so that XLA makes one collective of all three.
  gradients, values, batch_stats = pmean((gradients, values, batch_stats))
  values["gradient_norm"] = optax.tree.norm(gradients)
  gradients = optim.merge_params(gradients, jax.tree.map(jnp.zeros_like, frozen))
  updates, opt_state = tx.update(gradients, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  return TrainState(state.step + 1, params, batch_stats, opt_state), values


def _over_parts(
  found_in: Callable[..., Any],
  differentiate: Callable[..., Any],
  pmean: Callable[[Any], Any],
  trained: Any,
  batch_stats: Any,
  batch: Any,
  parts: int,
  axis_name: str | None,
) -> tuple[Any, Any, Any]:
  """Returns gradients and values, added up over parts of a batch, and batch_stats."""
  divided = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
  rows = (divided, jnp.arange(parts))

  def count(row):
    # XLA leaves out the network, which counts do not depend on.
    found, _ = found_in(trained, batch_stats, *row)
    return {name: number for name, (_, number) in found.items()}

  counts = pmean(jax.tree.map(lambda x: x.sum(0), jax.lax.map(count, rows)))

  def part_of(batch_stats, row):
    gradients, (values, stats) = differentiate(trained, batch_stats, *row, counts)
    return (gradients, values), stats

  def add(carry, row):
    sums, batch_stats = carry
    found, batch_stats = part_of(batch_stats, row)
    return (jax.tree.map(jnp.add, sums, found), batch_stats), None

  # All parts in the loop: XLA makes plain code of a loop over one part, and that would
  # be computed beside a part before the loop, with the activations of both in memory.
  one = jax.tree.map(lambda x: x[0], rows)
  shapes, _ = jax.eval_shape(part_of, batch_stats, one)
  sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  start = (_per_device(sums, axis_name), batch_stats)
  (found, batch_stats), _ = jax.lax.scan(add, start, rows)
  return *found, batch_stats


def _per_device(tree: Any, axis_name: str | None) -> Any:
  if axis_name is None:
    return tree
  return jax.tree.map(lambda x: jax.lax.pcast(x, axis_name, to="varying"), tree)
