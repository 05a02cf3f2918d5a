"""Gradients of tokens beside autodiff of the official code (golden_transpose_*.npz)."""

import json
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.parity.cases import Row, relative_error
from benchmarks.parity.transpose import REDUCE_SCALE, seeded_weights
from fskd_jax.analysis.attention.gradients import TokenGradients, token_gradients
from fskd_jax.interop import transpose as names
from fskd_jax.models.encoder import IMAGE_MEAN, IMAGE_STD
from fskd_jax.models.transpose import VARIANTS, TransPose

SIZE = 256, 192


def golden_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  """Compares the norms of the gradients of every token, each of itself."""
  variant = find_variant(golden)
  found = first_keypoint(golden)
  for kind, gradients, name in (
    ("exact", found.exact, "B_gradnorm_true"),
    ("closed form", found.closed_form, "B_gradnorm_fixedA"),
  ):
    norms = np.linalg.norm(gradients[0], axis=-1)
    error = relative_error(norms / golden[name], np.ones_like(norms))
    yield Row(f"{variant}, rule B: gradient norms, {kind}", error, 1e-3)


def find_variant(golden: Mapping[str, np.ndarray]) -> str:
  """Returns which model a file is of."""
  is_r = "deconv_layers.0.weight" in json.loads(str(golden["key_shapes"]))
  return "tp_r_a4" if is_r else "tp_h_a4"


def first_keypoint(golden: Mapping[str, np.ndarray]) -> TokenGradients:
  """Differentiates the highest value of the first keypoint, with weights of rule B."""
  variant = find_variant(golden)
  config, shapes = VARIANTS[variant], json.loads(str(golden["key_shapes"]))
  weights = seeded_weights(shapes, names.sine_tensor(config, SIZE)[names.POSITION])
  weights["reduce.weight"] = weights["reduce.weight"] * np.float32(
    REDUCE_SCALE[variant]
  )
  for name in ("final_layer.weight", "final_layer.bias"):
    weights[name] = weights[name][:1]
  variables = names.load_state_dict(weights, config, SIZE, 1)
  noise = np.random.default_rng(7).standard_normal((3, *SIZE)).astype(np.float32)
  image = (noise.transpose(1, 2, 0) * np.array(IMAGE_STD) + IMAGE_MEAN) * 255
  model = TransPose(config, SIZE, 1)
  return token_gradients(model, variables, image.astype(np.float32))
