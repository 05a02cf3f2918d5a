"""Up-sampling of heat-maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.models.build import count_parameters
from fskd_jax.models.detector import fuse_heatmaps
from fskd_jax.models.upsample import HeatmapUpsampler, MapConvolution, resize_bilinear

MAPS = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 3, 4, 4)), jnp.float32)


def _half_pixel_resize(image, side):
  """Bilinear sampling at half-pixel centres with clamped edges, pixel by pixel."""
  h, w = image.shape
  out = np.zeros((side, side))
  for i, j in np.ndindex(side, side):
    y = np.clip((i + 0.5) * h / side - 0.5, 0, h - 1)
    x = np.clip((j + 0.5) * w / side - 0.5, 0, w - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    top = image[y0, x0] * (x0 + 1 - x) + image[y0, x1] * (x - x0)
    low = image[y1, x0] * (x0 + 1 - x) + image[y1, x1] * (x - x0)
    out[i, j] = top * (y0 + 1 - y) + low * (y - y0)
  return out


@pytest.mark.parametrize("side", [4, 6, 8, 16])
def test_resize_uses_half_pixel_centres(side):
  found = resize_bilinear(MAPS, side, axes=(-2, -1))
  for at in np.ndindex(1, 2, 3):
    expected = _half_pixel_resize(np.asarray(MAPS[at]), side)
    np.testing.assert_allclose(found[at], expected, atol=1e-6)


def test_resize_of_features_takes_the_named_axes():
  features = jnp.moveaxis(MAPS, 2, 4)
  found = resize_bilinear(features, 8, axes=(2, 3))
  expected = jnp.moveaxis(resize_bilinear(MAPS, 8, axes=(-2, -1)), 2, 4)
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_map_convolution_is_a_convolution():
  module = MapConvolution()
  maps, variables = module.init_with_output(jax.random.key(0), MAPS)
  params = {**variables["params"], "bias": jnp.array([0.5])}
  maps = module.apply({"params": params}, MAPS)
  expected = jax.lax.conv_general_dilated(
    MAPS.reshape(-1, 4, 4, 1),
    params["kernel"],
    (1, 1),
    ((2, 2), (2, 2)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  np.testing.assert_allclose(maps, expected.reshape(MAPS.shape) + 0.5, atol=1e-5)
  assert jnp.abs(params["kernel"]).max() <= 0.2


@pytest.mark.parametrize(
  "kind, side, parameters",
  [("none", 4, 0), ("bilinear", 8, 0), ("conv1", 8, 26), ("conv2", 8, 52)],
)
def test_kinds(kind, side, parameters):
  maps, variables = HeatmapUpsampler(kind, 2.0).init_with_output(
    jax.random.key(0), MAPS
  )
  assert maps.shape == (1, 2, 3, side, side)
  assert count_parameters(variables) == parameters


def test_two_convolutions_have_a_relu_between():
  upsampler = HeatmapUpsampler("conv2", 1.0)
  kernel = jnp.zeros((5, 5, 1, 1)).at[2, 2].set(1.0)
  layer = {"kernel": kernel, "bias": jnp.zeros(1)}
  maps = upsampler.apply({"params": {"conv1": layer, "conv2": layer}}, MAPS)
  np.testing.assert_allclose(maps, jnp.maximum(MAPS, 0))


def test_unknown_kind_is_named():
  with pytest.raises(ValueError, match="'fc1'"):
    HeatmapUpsampler("fc1", 2.0).init(jax.random.key(0), MAPS)


def test_fusion_averages_at_the_largest_size():
  large = resize_bilinear(MAPS, 8, axes=(-2, -1))
  np.testing.assert_allclose(fuse_heatmaps((MAPS, 3 * large)), 2 * large, atol=1e-6)
