import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.analysis import proposition1 as study


def _networks(seed=0):
  first, second = jax.random.split(jax.random.key(seed))
  return study.init(second), study.draw_trial(first)


def test_the_heat_maps_are_what_a_loop_over_cells_gives():
  params, trial = _networks()
  mds, smd = study.heatmaps(params, trial, 1.0)
  kernel = study.network(params["smd"], trial.prototype, 1.0)
  for cell, x in enumerate(trial.features):
    np.testing.assert_allclose(
      mds[cell],
      study.network(params["mds"], trial.prototype * x, 1.0)[0],
      rtol=1e-4,
      atol=1e-5,
    )
    np.testing.assert_allclose(
      smd[cell], (kernel * x).sum() / study.CHANNELS, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_the_linear_term_is_the_slope_of_the_difference(temperature):
  # Along (a, x) scaled by s, the MDS input scales by s^2: take the kernel and the
  # modulated features as the variables of the finite difference instead.
  params, trial = _networks(1)
  a, x, step = trial.prototype, trial.features, 1e-2

  def mds(s):
    one = lambda u: study.network(params["mds"], u, temperature)[0]
    return jax.vmap(one)(s * a[None] * x)

  def smd(s):
    kernel = study.network(params["smd"], s * a, temperature)
    return x @ kernel / study.CHANNELS

  slope = ((mds(step) - smd(step)) - (mds(-step) - smd(-step))) / (2 * step)
  found = study.expand(params, trial, temperature, 0.0)
  np.testing.assert_allclose(found.linear, slope, atol=2e-3)
  np.testing.assert_allclose(found.constant, mds(0.0) - smd(0.0), atol=1e-5)


def test_around_another_point_the_expansion_is_exact_there():
  params, trial = _networks(2)
  ones = jnp.ones_like
  there = trial._replace(
    prototype=0.3 * ones(trial.prototype), features=ones(trial.features)
  )
  found = study.expand(params, there, 1.0, 0.3)
  mds, smd = study.heatmaps(params, there, 1.0)
  np.testing.assert_allclose(found.linear + found.constant, mds - smd, atol=1e-5)


def test_the_remainder_falls_with_the_temperature():
  errors = [np.median(study.expansion_error(0, t, 0.0, 20)) for t in (4.0, 16.0, 64.0)]
  np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.25)
  np.testing.assert_allclose(errors[1] / errors[2], 4, rtol=0.25)


def test_the_fit_brings_both_to_the_target_and_to_each_other():
  found = study.fit(0, 0.0, trials=4, iterations=150)
  assert found.distances.shape == (4, 151)
  assert np.median(found.distances[:, 0]) > 100 * np.median(found.distances[:, -1])
  np.testing.assert_allclose(
    found.after[:, 0], found.targets[: len(found.after)], atol=0.02
  )
  np.testing.assert_allclose(
    found.after[:, 1], found.targets[: len(found.after)], atol=0.02
  )
  again = study.fit(0, 0.0, trials=4, iterations=150)
  np.testing.assert_array_equal(found.distances, again.distances)
