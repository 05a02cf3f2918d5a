"""Fits MDS and SMD to toy heat-maps, and expands the activation."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

CHANNELS, SIDE, HIDDEN = 48, 5, 32
"""Sizes of the toy problem. With fewer cells than channels, a linear kernel can fit any
heat-map."""

_CHUNK = 50  # trials at a time: their parameters stay in the cache of a CPU
EXAMPLES = 3
"""Number of trials whose heat-maps are kept."""

Layers = dict[str, Array]


class Trial(NamedTuple):
  """Data for both networks: features, a prototype and the heat-map to fit."""

  features: Float[Array, "cells c"]
  prototype: Float[Array, " c"]
  target: Float[Array, " cells"]


class Fit(NamedTuple):
  """Convergence of the heat-maps of the two networks in all trials.

  Attributes:
    distances: The root mean squared difference of the heat-maps, before each iteration
      and after the last.
    losses: The mean squared errors of MDS and SMD after the last iteration.
    before, after: The heat-maps of MDS and SMD in the first trials.
    targets: The target heat-maps of these trials.
  """

  distances: Float[np.ndarray, "trials i"]
  losses: Float[np.ndarray, "trials 2"]
  before: Float[np.ndarray, "e 2 h w"]
  after: Float[np.ndarray, "e 2 h w"]
  targets: Float[np.ndarray, "e h w"]


def activation(z: Array, temperature: float) -> Array:
  """Returns (1/T) ln(1 + exp(T z)), or its limit ReLU for an infinite T."""
  if np.isinf(temperature):
    return jax.nn.relu(z)
  return jax.nn.softplus(temperature * z) / temperature


def network(layers: Layers, x: Float[Array, " c"], temperature: float) -> Array:
  """Applies a network with one hidden layer."""
  hidden = activation(x @ layers["w1"] + layers["b1"], temperature)
  return hidden @ layers["w2"] + layers["b2"]


def mds_heatmap(
  layers: Layers, trial: Trial, temperature: float
) -> Float[Array, " cells"]:
  """Modulates the features by the prototype, then detects."""
  modulated = trial.prototype[None] * trial.features
  return jax.vmap(lambda u: network(layers, u, temperature)[0])(modulated)


def smd_heatmap(
  layers: Layers, trial: Trial, temperature: float
) -> Float[Array, " cells"]:
  """Generates a kernel from the prototype, and correlates the features with it."""
  kernel = network(layers, trial.prototype, temperature)
  return trial.features @ kernel / CHANNELS


def draw_trial(key: Array) -> Trial:
  """Draws normal features and prototype, and a Gaussian bump at a random place."""
  keys = jax.random.split(key, 3)
  center = jax.random.uniform(keys[2], (2,), maxval=SIDE - 1)
  cells = jnp.stack(jnp.meshgrid(*[jnp.arange(SIDE)] * 2), -1).reshape(-1, 2)
  squares = ((cells - center[None]) ** 2).sum(-1)
  return Trial(
    features=jax.random.normal(keys[0], (SIDE * SIDE, CHANNELS)),
    prototype=jax.random.normal(keys[1], (CHANNELS,)),
    target=jnp.exp(-squares / 2),
  )


def init(key: Array) -> dict[str, Layers]:
  """Draws He-scaled weights of "mds" and "smd"; biases are 0."""

  def layers(key: Array, outputs: int) -> Layers:
    first, second = jax.random.split(key)
    return {
      "w1": jax.random.normal(first, (CHANNELS, HIDDEN)) * np.sqrt(2 / CHANNELS),
      "b1": jnp.zeros(HIDDEN),
      "w2": jax.random.normal(second, (HIDDEN, outputs)) * np.sqrt(1 / HIDDEN),
      "b2": jnp.zeros(outputs),
    }

  mds, smd = jax.random.split(key)
  return {"mds": layers(mds, 1), "smd": layers(smd, CHANNELS)}


def heatmaps(
  params: Mapping[str, Layers], trial: Trial, temperature: float
) -> Float[Array, "2 cells"]:
  """Returns the heat-maps of MDS and of SMD."""
  return jnp.stack(
    [
      mds_heatmap(params["mds"], trial, temperature),
      smd_heatmap(params["smd"], trial, temperature),
    ]
  )


def fit(
  seed: int,
  temperature: float,
  *,
  trials: int = 1000,
  iterations: int = 200,
  learning_rate: float = 0.03,
) -> Fit:
  """Fits both networks of every trial to its heat-map by Adam with a cosine rate.

  Args:
    seed: The seed of features, prototypes, targets and weights.
    temperature: The T of the activation; infinity gives ReLU.
    trials: The number of trials, rounded up to whole chunks.
    iterations: The number of iterations of Adam.
    learning_rate: The initial learning rate; the final one is 0.
  """
  tx = optax.adam(optax.cosine_decay_schedule(learning_rate, iterations))

  def one(key: Array) -> tuple[Array, ...]:
    first, second = jax.random.split(key)
    trial, params = draw_trial(first), init(second)

    def loss(params: Any) -> tuple[Array, Array]:
      maps = heatmaps(params, trial, temperature)
      # The networks share nothing, so that the sum trains each by its own error.
      return jnp.square(maps - trial.target[None]).mean(1).sum(), maps

    def step(state, _):
      params, moments = state
      gradients, maps = jax.grad(loss, has_aux=True)(params)
      updates, moments = tx.update(gradients, moments, params)
      return (optax.apply_updates(params, updates), moments), _distance(maps)

    start = heatmaps(params, trial, temperature)
    (params, _), distances = jax.lax.scan(
      step, (params, tx.init(params)), length=iterations
    )
    end = heatmaps(cast("dict[str, Layers]", params), trial, temperature)
    losses = jnp.square(end - trial.target[None]).mean(1)
    return jnp.append(distances, _distance(end)), losses, start, end, trial.target

  chunk = min(_CHUNK, trials)
  keys = jax.random.split(jax.random.key(seed), (-(-trials // chunk), chunk))
  found = jax.jit(lambda keys: jax.lax.map(jax.vmap(one), keys))(keys)
  distances, losses, before, after, targets = (
    np.asarray(x).reshape(-1, *x.shape[2:]) for x in found
  )

  def images(flat: np.ndarray) -> np.ndarray:
    return flat[:EXAMPLES].reshape(*flat[:EXAMPLES].shape[:-1], SIDE, SIDE)

  return Fit(distances, losses, images(before), images(after), images(targets))


def _distance(maps: Float[Array, "2 cells"]) -> Array:
  return jnp.sqrt(jnp.square(maps[0] - maps[1]).mean())


class Expansion(NamedTuple):
  """Terms of the heat-map of MDS less that of SMD, with the activation expanded.

  Attributes:
    linear: aT (Diag(W_mds) - W_smdT / c) x, first order in a and in x.
    constant: The other terms of orders 0 and 1 of the activation.
    second: The terms of order 2 of the activation, which the proposition leaves out.
  """

  linear: Float[Array, " cells"]
  constant: Float[Array, " cells"]
  second: Float[Array, " cells"]


def expand(
  params: Mapping[str, Layers], trial: Trial, temperature: float, epsilon: float
) -> Expansion:
  """Expands the activation around epsilon, a value of the hidden pre-activations."""
  place = jnp.float32(temperature * epsilon)
  value = activation(jnp.float32(epsilon), temperature)
  first = jax.nn.sigmoid(place)  # the two derivatives of the activation
  second = temperature * first * jax.nn.sigmoid(-place)

  def parts(layers: Layers, x: Array) -> tuple[Array, Array, Array]:
    """Returns the linear, the constant and the second-order part of a network."""
    z = x @ layers["w1"]
    constant = (value + first * (layers["b1"] - epsilon)) @ layers["w2"] + layers["b2"]
    square = second / 2 * jnp.square(z + layers["b1"] - epsilon) @ layers["w2"]
    return first * z @ layers["w2"], constant, square

  modulated = trial.prototype[None] * trial.features
  mds = jax.vmap(lambda u: parts(params["mds"], u))(modulated)
  smd = parts(params["smd"], trial.prototype)
  return Expansion(
    *(m[:, 0] - trial.features @ kernel / CHANNELS for m, kernel in zip(mds, smd))
  )


def expansion_error(
  seed: int, temperature: float, epsilon: float, trials: int = 1000
) -> Float[np.ndarray, "trials 2"]:
  """Measures the error of the expansion in randomly drawn networks.

  Returns:
    The difference of the heat-maps less the first order, and the term of second order,
    both relative to the linear term: root mean squares over the cells.
  """

  def one(key: Array) -> Array:
    first, second = jax.random.split(key)
    trial, params = draw_trial(first), init(second)
    mds, smd = heatmaps(params, trial, temperature)
    found = expand(params, trial, temperature, epsilon)
    remainder = mds - smd - found.linear - found.constant
    terms = jnp.stack([remainder, found.second])
    return jnp.sqrt(jnp.square(terms).mean(1) / jnp.square(found.linear).mean())

  keys = jax.random.split(jax.random.key(seed), trials)
  return np.asarray(jax.jit(jax.vmap(one))(keys))
