"""The choice of the encoder and the normalisation of its input."""

import jax.numpy as jnp
import numpy as np
import pytest

from fskd_jax.config import ModelConfig
from fskd_jax.models.encoder import build_encoder, normalize_images


def test_normalisation_by_imagenet():
  image = np.array([[[0, 128, 255]]], np.uint8)
  expected = [
    (0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225
  ]  # fmt: skip
  for dtype in (np.uint8, np.float32):
    found = normalize_images(jnp.asarray(image.astype(dtype)))
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize(
  "options, image_size, message",
  [
    ({"encoder": "vgg"}, 64, "'vgg'"),
    ({"strides": (2,)}, 64, r"strides = \(2,\)"),
    ({"strides": ()}, 64, "strides"),
    ({"encoder": "small", "strides": (32,), "freeze_until": ""}, 64, "strides"),
    ({"encoder": "small", "strides": (8,)}, 64, "freeze_until = 'layer3'"),
    ({"freeze_until": "layer5"}, 64, "freeze_until = 'layer5'"),
    ({}, 100, "image_size: got 100, expected a multiple of 32"),
  ],
)
def test_impossible_encoders_are_named(options, image_size, message):
  with pytest.raises(ValueError, match=message):
    build_encoder(ModelConfig(**options), image_size)
