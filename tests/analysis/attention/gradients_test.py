import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables

from fskd_jax.analysis.attention import gradients
from fskd_jax.config import ModelConfig, TransformerConfig
from fskd_jax.models.transpose import TransPose

TP_R = ModelConfig(
  encoder="small",
  small_widths=(4, 4, 8),
  strides=(8,),
  freeze_until="",
  transformer=TransformerConfig(layers=2, width=8, hidden=16, heads=2),
)
"""Like TransPose-R: tokens at stride 8, a deconvolution, several heads."""


@pytest.fixture(scope="module")
def found():
  """The model, its variables, the image, and what was found."""
  model = TransPose(TP_R, (32, 24), 2)
  image = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
  variables = seeded_variables(lambda key: model.init(key, image[None], train=False))
  return model, variables, image, gradients.token_gradients(model, variables, image)


def _apply(model, variables, image, shift, frozen=None):
  """Returns the heat-maps with a shift of the last layer's input.

  With `frozen` [heads L L], the last layer has these attention weights.
  """

  def change(call, args, kwargs, context):
    path = context.module.path
    if context.method_name == "__call__" and path[-2:] == ("transformer", "layer1"):
      args = (args[0] + shift[None], *args[1:])
    if frozen is None or path[-2:] != ("layer1", "attention"):
      return call(*args, **kwargs)
    params = context.module.variables["params"]
    kernel, bias = params["in_kernel"][:, 16:], params["in_bias"][None, 16:]
    values = jnp.split(args[0][0] @ kernel + bias, 2, axis=-1)
    read = jnp.concatenate([a @ v for a, v in zip(frozen, values)], axis=-1)
    out = params["out_projection"]
    return (read @ out["kernel"] + out["bias"][None])[None]

  with nn.intercept_methods(change):
    return model.apply(variables, image[None], train=False)[0]


def _at(heatmaps, cells):
  return jnp.stack([maps[tuple(cell)] for maps, cell in zip(heatmaps, cells)])


@pytest.mark.slow
def test_the_exact_gradient_is_the_slope(found):
  model, variables, image, result = found
  values = jax.jit(
    lambda shift: _at(_apply(model, variables, image, shift), result.cells)
  )
  direction = np.random.default_rng(1).standard_normal((12, 8)).astype(np.float32)
  slope = (values(3e-3 * direction) - values(-3e-3 * direction)) / 6e-3
  expected = (result.exact * direction).sum((1, 2))
  np.testing.assert_allclose(expected, slope, rtol=1e-2, atol=2e-3)


@pytest.mark.slow
def test_the_closed_form_is_the_gradient_with_constant_attention(found):
  model, variables, image, result = found

  def values(shift):
    heatmaps = _apply(model, variables, image, shift, frozen=result.attention)
    return _at(heatmaps, result.cells)

  expected = jax.jit(jax.jacrev(values))(jnp.zeros((12, 8)))
  scale = abs(expected).max()
  np.testing.assert_allclose(result.closed_form, expected, atol=1e-5 * scale)
  assert abs(result.exact - expected).max() > 1e-3 * scale


def test_the_supplement_form_is_its_formula(found):
  _, variables, _, result = found
  layer = variables["params"]["encoder"]["transformer"]["layer1"]["attention"]
  value = np.asarray(layer["in_kernel"])[:, 16:]
  averaged = (result.attention[0] + result.attention[1]) / 2
  score = np.random.default_rng(2).standard_normal(8)
  form = gradients.supplement_form(score, averaged[5], value)
  for j in range(12):
    for c in range(8):
      expected = averaged[5, j] * sum(value[c, e] * score[e] for e in range(8))
      assert form[j, c] == pytest.approx(expected + score[c])


def test_places_are_peaks_and_depend_on_the_tokens_around_them(found):
  *_, result = found
  assert result.heatmaps.shape == (2, 8, 6)
  for k, (row, column) in enumerate(result.cells):
    assert result.heatmaps[k, row, column] == result.heatmaps[k].max()
    assert result.tokens[k] == (row // 2) * 3 + column // 2
    rows = {row // 2, row // 2 + (1 if row % 2 else -1)} & set(range(4))
    columns = {column // 2, column // 2 + (1 if column % 2 else -1)} & set(range(3))
    around = {r * 3 + c for r in rows for c in columns}
    assert set(np.flatnonzero(result.direct[k])) == around


def test_with_one_head_and_one_token_the_closed_form_follows_attention():
  rng = np.random.default_rng(4)
  attention, value, output = (rng.random(s) for s in ((1, 6, 6), (4, 4), (4, 4)))
  score = np.zeros((6, 4))
  score[2] = rng.standard_normal(4)
  gradient = gradients.closed_form(score, attention, value, output)
  shares = np.linalg.norm(gradient, axis=-1) / attention[0, 2]
  others = [0, 1, 3, 4, 5]
  np.testing.assert_allclose(shares[others], shares[0])
  assert shares[2] != pytest.approx(shares[0])


def test_agreement_leaves_the_direct_tokens_out():
  rng = np.random.default_rng(3)
  attention = rng.random((1, 6, 6))
  exact = attention[0, 2][None, :, None] * np.ones((1, 6, 4))
  exact[0, 2] = 1e6
  result = gradients.TokenGradients(
    heatmaps=np.zeros((1, 3, 2)),
    attention=attention,
    cells=np.array([[1, 0]]),
    tokens=np.array([2]),
    exact=exact,
    closed_form=1.5 * exact,
    supplement=exact[:, ::-1],
    direct=np.arange(6)[None] == 2,
  )
  agreement = gradients.compare(result, 0)
  assert agreement["closed form"] == pytest.approx((1, 1, 0.5))
  assert agreement["attention"][:2] == pytest.approx((1, 1))
  assert np.isnan(agreement["attention"].error)
  assert agreement["supplement"].pearson < 0.99
