"""The kernel generator against the original's numbers, and its ablations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.models.kernels import KernelGenerator, materialize

CHANNELS = 8


@pytest.fixture(scope="module")
def prototypes():
  noise = np.random.default_rng(1).normal(size=(2, 3, CHANNELS))
  return (np.abs(noise) + 0.1).astype(np.float32)


def _generate(prototypes, **options):
  """Returns the kernels and the parameters that a generator starts with."""
  generator = KernelGenerator(**{"kernel_sizes": (1, 3)} | options)

  @jax.jit
  def run(key, prototypes):
    kernels, variables = generator.init_with_output(key, prototypes)
    return [materialize(group) for group in kernels], variables.get("params", {})

  return run(jax.random.key(0), prototypes)


def test_kernels_are_the_original_codes(golden):
  def weight(key, index):
    shape = {"weight_net_part1.1": (24, 1, 3, 3), "weight_net_part1.2": (24, 1, 5, 5)}
    shape = shape.get(key[:18], (24, 24, 1, 1))
    if key.endswith("bias"):
      return np.random.default_rng([2026, index]).standard_normal(24) * 0.05
    values = np.random.default_rng([2026, index]).standard_normal(shape)
    return values * np.sqrt(2 / np.prod(shape[1:]))

  keys = golden["kg_keys"].tolist()
  w = {key: weight(key, i) for i, key in enumerate(keys)}
  srm, crm = "weight_net_part1.{}.0.{}", "weight_net_part2.0.{}.{}"
  params = {
    f"srm_{size}": {
      "kernel": w[srm.format(j, "weight")][:, 0].transpose(1, 2, 0),
      "bias": w[srm.format(j, "bias")],
    }
    for j, size in ((1, 3), (2, 5))
  }
  params["crm"] = {
    name: {
      "kernel": w[crm.format(j, "weight")][:, :, 0, 0].T,
      "bias": w[crm.format(j, "bias")],
    }
    for j, name in ((0, "hidden"), (2, "output"))
  }
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  groups = jax.jit(KernelGenerator((1, 3, 5)).apply)(
    {"params": params}, golden["pool_prototypes_cn"].T[None]
  )
  for size, group in zip((1, 3, 5), groups):
    expected = golden[f"kg_kernel_s{size}_nchw"].transpose(0, 2, 3, 1)
    found = materialize(group).taps[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_initial_values_are_the_papers():
  """Supplement A.1: SRM N(1, 0.001^2); CRM N(0, 0.01^2), then I + N(0, 0.001^2)."""
  channels = 96
  prototypes = np.ones((1, 1, channels), np.float32)
  _, params = _generate(prototypes, kernel_sizes=(1, 3, 5))
  crm, identity = params["crm"], np.eye(channels)
  for layer, mean, deviation in (
    (params["srm_3"], 1.0, 1e-3),
    (params["srm_5"], 1.0, 1e-3),
    (crm["hidden"], 0.0, 1e-2),
    (crm["output"], identity, 1e-3),
  ):
    assert not layer["bias"].any()
    noise = np.asarray(layer["kernel"]) - mean
    error = deviation / np.sqrt(noise.size)  # of the mean; of the deviation / sqrt(2)
    assert abs(noise.mean()) < 5 * error
    assert abs(noise.std() - deviation) < 4 * error
    assert np.abs(noise).max() > 3 * deviation  # normal, neither cut nor uniform


def test_at_first_every_tap_is_almost_the_spatial_copy(prototypes):
  (_, srm), _ = _generate(prototypes, kind="no_crm")
  expected = np.broadcast_to(prototypes[:, :, None, None], srm.taps.shape)
  np.testing.assert_allclose(srm.taps, expected, atol=0.02)


@pytest.mark.parametrize("kind", ["srm_crm", "no_srm"])
def test_residual_crm_starts_at_the_prototype(prototypes, kind):
  groups, _ = _generate(prototypes, kind=kind, residual_crm=True)
  for size, group in zip((1, 3), groups):
    assert group.taps.shape == (2, 3, size, size, CHANNELS)
    expected = np.broadcast_to(prototypes[:, :, None, None], group.taps.shape)
    np.testing.assert_allclose(group.taps, expected, atol=0.03)


@pytest.mark.parametrize("residual", [False, True])
def test_crm_formula(prototypes, residual):
  (group,), params = _generate(prototypes, kernel_sizes=(1,), residual_crm=residual)
  crm = params["crm"]
  for b, n in np.ndindex(2, 3):
    a = prototypes[b, n]
    hidden = jnp.maximum(a @ crm["hidden"]["kernel"] + crm["hidden"]["bias"], 0)
    expected = hidden @ crm["output"]["kernel"] + crm["output"]["bias"]
    expected = expected + a if residual else expected
    np.testing.assert_allclose(group.taps[b, n, 0, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
  "kind, modules",
  [
    ("srm_crm", {"srm_3", "crm"}),
    ("no_srm", {"crm"}),
    ("no_crm", {"srm_3"}),
    ("linear", {"crm"}),
    ("prototype", set()),
  ],
)
def test_ablations_leave_out_what_they_say(prototypes, kind, modules):
  generator = KernelGenerator((1, 3), kind)
  shapes = jax.eval_shape(generator.init, jax.random.key(0), prototypes)
  assert set(shapes.get("params", {})) == modules


@pytest.mark.parametrize("kind", ["linear", "prototype"])
def test_simple_kinds_start_as_the_prototype(prototypes, kind):
  (group,), _ = _generate(prototypes, kernel_sizes=(3,), kind=kind)
  expected = np.broadcast_to(prototypes[:, :, None, None], (2, 3, 3, 3, CHANNELS))
  np.testing.assert_allclose(group.taps, expected, atol=0.02)


def test_no_crm_keeps_signs_and_srm_does_not(prototypes):
  srm = {"kernel": np.full((3, 3, CHANNELS), 2.0), "bias": np.zeros(CHANNELS)}
  for kind in ("no_crm", "srm_crm"):
    generator = KernelGenerator((3,), kind)
    variables = seeded_variables(generator.init, prototypes)
    variables["params"]["srm_3"] = srm
    apply = functools.partial(generator.apply, deferred=True)
    (group,) = jax.jit(apply)(variables, -prototypes)
    expected = -2 * prototypes
    if kind == "srm_crm":  # the taps are 0, so CRM's hidden layer sees its bias alone
      bias = variables["params"]["crm"]["hidden"]["bias"]
      expected = np.broadcast_to(np.maximum(bias, 0), prototypes.shape)
    for i, j in np.ndindex(3, 3):
      np.testing.assert_allclose(group.taps[:, :, i, j], expected, atol=1e-6)


def test_nothing_is_deferred_unless_asked(prototypes):
  generator = KernelGenerator((1, 3))
  variables = seeded_variables(generator.init, prototypes)
  kernels = generator.apply(variables, prototypes)
  deferred = generator.apply(variables, prototypes, deferred=True)
  for group, waiting in zip(kernels, deferred):
    assert group.layer is None and waiting.layer is not None
    np.testing.assert_array_equal(group.taps, materialize(waiting).taps)
    assert np.abs(group.taps - waiting.taps).max() > 0.1


def test_separate_crms_and_bias_nets(prototypes):
  generator = KernelGenerator((1, 3), shared_crm=False, bias_net=True)
  groups, variables = jax.eval_shape(
    generator.init_with_output, jax.random.key(0), prototypes
  )
  names = {"crm_1", "crm_3", "srm_3", "bias_net_1", "bias_net_3"}
  assert set(variables["params"]) == names
  assert all(group.bias.shape == (2, 3) for group in groups)


def test_wrong_options_are_named(prototypes):
  generate = functools.partial(_generate, prototypes)
  with pytest.raises(ValueError, match="odd.*2"):
    generate(kernel_sizes=(1, 2))
  with pytest.raises(ValueError, match="'crm'"):
    generate(kind="crm")
