import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.analysis.proposition1 import study

_init, _draw_trial = jax.jit(study.init), jax.jit(study.draw_trial)
_expand = jax.jit(study.expand, static_argnums=(2, 3))
_heatmaps = jax.jit(study.heatmaps, static_argnums=2)
_network = jax.jit(study.network, static_argnums=2)


def _networks(seed=0):
  first, second = jax.random.split(jax.random.key(seed))
  return _init(second), _draw_trial(first)


@pytest.mark.slow
def test_the_heat_maps_are_what_a_loop_over_cells_gives():
  params, trial = _networks()
  mds, smd = _heatmaps(params, trial, 1.0)
  kernel = _network(params["smd"], trial.prototype, 1.0)
  for cell, x in enumerate(trial.features):
    np.testing.assert_allclose(
      mds[cell],
      _network(params["mds"], trial.prototype * x, 1.0)[0],
      rtol=1e-4,
      atol=1e-5,
    )
    np.testing.assert_allclose(
      smd[cell], (kernel * x).sum() / study.CHANNELS, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_the_activation_is_the_paper_s(temperature):
  z = np.linspace(-4, 4, 9)
  expected = np.log1p(np.exp(temperature * z)) / temperature
  found = jax.vmap(lambda z: study.activation(z, temperature))(jnp.float32(z))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_activation_becomes_relu_as_t_grows():
  z = jnp.linspace(-2, 2, 9)
  relu = study.activation(z, np.inf)
  np.testing.assert_array_equal(relu, np.maximum(z, 0))
  np.testing.assert_allclose(study.activation(z, 1e4), relu, atol=1e-4)


def _biased(seed):
  """Returns networks whose biases are not 0, and a trial."""
  params, trial = _networks(seed)
  for number, layers in enumerate(params.values()):
    keys = jax.random.split(jax.random.key(number))
    for name, key in zip(("b1", "b2"), keys):
      layers[name] = 0.3 * jax.random.normal(key, layers[name].shape)
  return params, trial


def _polynomial64(z, temperature, epsilon, order):
  """The Taylor polynomial of the activation in float64, from finite differences."""
  f = lambda z: np.logaddexp(0, temperature * z) / temperature
  h, distance = 1e-3 / temperature, z - epsilon
  first = (f(epsilon + h) - f(epsilon - h)) / (2 * h)
  second = (f(epsilon + h) - 2 * f(epsilon) + f(epsilon - h)) / h**2
  terms = (f(epsilon), first * distance, second / 2 * distance**2)
  return sum(terms[: order + 1])


def _difference64(params, trial, function):
  """The heat-map of MDS less that of SMD in float64, with any activation, by loops."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  features, prototype = (np.asarray(x, np.float64) for x in trial[:2])

  def network(layers, x):
    return function(x @ layers["w1"] + layers["b1"]) @ layers["w2"] + layers["b2"]

  kernel = network(params["smd"], prototype)
  return np.array(
    [network(params["mds"], prototype * x)[0] - kernel @ x / 48 for x in features]
  )


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.25, 2.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.4])
def test_the_expansion_is_that_of_the_hidden_activation(temperature, epsilon):
  params, trial = _biased(1)
  found = _expand(params, trial, temperature, epsilon)
  polynomial = functools.partial(
    _polynomial64, temperature=temperature, epsilon=epsilon
  )
  affine, parabola = (
    _difference64(params, trial, functools.partial(polynomial, order=order))
    for order in (1, 2)
  )
  np.testing.assert_allclose(found.linear + found.constant, affine, atol=1e-4)
  np.testing.assert_allclose(found.second, parabola - affine, rtol=1e-3, atol=1e-4)


def test_the_linear_term_is_the_paper_s():
  params, trial = _biased(2)
  found = _expand(params, trial, 1.5, 0.4)
  slope = 1 / (1 + np.exp(-1.5 * 0.4))
  w_mds, w_smd = (
    slope * np.asarray(params[name]["w2"].T @ params[name]["w1"].T, np.float64)
    for name in ("mds", "smd")
  )
  matrix = np.diag(w_mds[0]) - w_smd.T / study.CHANNELS
  expected = np.asarray(trial.features) @ (np.asarray(trial.prototype) @ matrix)
  np.testing.assert_allclose(found.linear, expected, atol=1e-4)
  # A prototype of 0 takes the linear term away and leaves the constant as it is.
  zero = trial._replace(prototype=jnp.zeros_like(trial.prototype))
  np.testing.assert_array_equal(_expand(params, zero, 1.5, 0.4).linear, 0)
  np.testing.assert_allclose(
    _expand(params, zero, 1.5, 0.4).constant, found.constant, atol=1e-5
  )


@pytest.mark.slow
def test_a_small_t_makes_the_expansion_exact():
  # Around 0 the second derivative is T / 4, so the remainder is proportional to T.
  errors = [
    np.median(study.expansion_error(0, t, 0.0, 20)[:, 0])
    for t in (1 / 4, 1 / 16, 1 / 64)
  ]
  np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.25)
  np.testing.assert_allclose(errors[1] / errors[2], 4, rtol=0.25)


@pytest.mark.slow
def test_in_the_limit_of_relu_a_remainder_stays_around_every_point():
  # Every derivative beyond the first vanishes at 0.1, but what lies beyond the kink
  # does not become linear: ReLU(z) = z for z > 0 and 0 for half of all z.
  remainder, second = np.median(study.expansion_error(0, 1000.0, 0.1, 20), axis=0)
  assert second < 1e-6
  assert 0.5 < remainder < 0.8
  params, trial = _biased(3)
  found = _expand(params, trial, 1000.0, 0.1)
  mds, smd = _heatmaps(params, trial, np.inf)
  beyond = _difference64(params, trial, lambda z: np.maximum(z, 0)) - _difference64(
    params, trial, lambda z: z
  )
  left = mds - smd - found.linear - found.constant
  np.testing.assert_allclose(left, beyond, atol=1e-3)


@pytest.mark.slow
def test_the_fit_brings_both_to_the_target_and_to_each_other():
  found = study.fit(0, np.inf, trials=4, iterations=150)
  assert found.distances.shape == (4, 151)
  assert np.median(found.distances[:, 0]) > 100 * np.median(found.distances[:, -1])
  np.testing.assert_allclose(
    found.after[:, 0], found.targets[: len(found.after)], atol=0.02
  )
  np.testing.assert_allclose(
    found.after[:, 1], found.targets[: len(found.after)], atol=0.02
  )
  again = study.fit(0, np.inf, trials=4, iterations=150)
  np.testing.assert_array_equal(found.distances, again.distances)
