"""TransPose beside outputs of the official code (golden_transpose_{r,h}_a4.npz).

The weights are drawn by the rules of docs/transpose.md#weights-by-rule. With rule A the
features of HRNet are so large that attention picks single cells, and rounding may
change which; rule B scales the tokens to O(1).
"""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.parity.cases import Row, relative_error
from fskd_jax.interop import transpose as names
from fskd_jax.models.transpose import VARIANTS, TransPose, gather_attention

NUM_KEYPOINTS = 17
REDUCE_SCALE = {"tp_r_a4": 2.0**-5, "tp_h_a4": 2.0**-16}
"""What rule B multiplies the weights of `reduce` by."""
RULE_A_LIMITS = {"tp_r_a4": (1e-4, 2e-6), "tp_h_a4": (3e-2, 5e-5)}
"""Of heat-maps (relative for R, absolute for H) and attention."""


def golden_rows(golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
  """Compares every array of one file but the gradients."""
  shapes = str(golden["key_shapes"])  # JSON
  variant = "tp_r_a4" if "deconv_layers.0.weight" in shapes else "tp_h_a4"
  for suffix, size in (("", (256, 192)), ("_320x224", (320, 224))):
    if f"heatmap{suffix}" in golden:
      yield from _rule_a_rows(golden, variant, shapes, size, suffix)
      yield from _rule_b_rows(golden, variant, shapes, size, suffix)


def seeded_weights(
  shapes: Mapping[str, tuple[int, ...]], sine: np.ndarray
) -> dict[str, np.ndarray]:
  """Draws a state dict by rule A."""
  weights = {}
  for i, (name, shape) in enumerate(sorted(shapes.items())):
    r = np.random.default_rng([2026, i]).standard_normal(shape).astype(np.float32)
    if name.endswith("num_batches_tracked"):
      weights[name] = np.zeros((), np.int64)
    elif name == names.POSITION:
      weights[name] = sine
    elif name.endswith("running_var"):
      weights[name] = 1 + np.float32(0.1) * np.abs(r)
    elif name.endswith("weight") and len(shape) == 1:
      weights[name] = 1 + np.float32(0.1) * r
    elif name.endswith("weight"):
      weights[name] = r * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    else:
      weights[name] = r * np.float32(0.05)
  return weights


@functools.cache
def evaluation(variant: str, size: tuple[int, int]) -> Any:
  """Compiles (variables, images) -> heat-maps [t n h w], attention, tokens."""
  model = TransPose(VARIANTS[variant], size, NUM_KEYPOINTS)

  def is_reduce(module: Any, method: str) -> bool:
    return module.name == "reduce" and method == "__call__"

  def apply(variables, images):
    output: Any = model.apply(
      variables,
      images,
      train=False,
      method="from_normalized",
      mutable=["intermediates"],
      capture_intermediates=is_reduce,
    )
    heatmaps, sown = output
    tokens = sown["intermediates"]["encoder"]["reduce"]["__call__"][0]
    return heatmaps, gather_attention(sown["intermediates"]), tokens

  return jax.jit(apply)


@functools.cache
def _variables(variant: str, shapes: str, size: tuple[int, int]) -> dict[str, Any]:
  config = VARIANTS[variant]
  sine = names.sine_tensor(config, size)[names.POSITION]
  weights = seeded_weights(json.loads(shapes), sine)
  return names.load_state_dict(weights, config, size, NUM_KEYPOINTS)


def _evaluate(
  variant: str, shapes: str, size: tuple[int, int], reduce_scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  variables = jax.tree.map(lambda x: x, _variables(variant, shapes, size))
  reduce = variables["params"]["encoder"]["reduce"]
  reduce["kernel"] = reduce["kernel"] * np.float32(reduce_scale)
  images = np.random.default_rng(7).standard_normal((1, 3, *size)).astype(np.float32)
  found = evaluation(variant, size)(variables, images.transpose(0, 2, 3, 1))
  heatmaps, attention, tokens = map(np.asarray, found)
  return heatmaps, attention[:, 0], tokens.reshape(-1, tokens.shape[-1])


def _rule_a_rows(
  golden: Mapping[str, np.ndarray],
  variant: str,
  shapes: str,
  size: tuple[int, int],
  suffix: str,
) -> Iterator[Row]:
  heatmaps, attention, tokens = _evaluate(variant, shapes, size, reduce_scale=1.0)
  limit, attention_limit = RULE_A_LIMITS[variant]
  error = relative_error if variant == "tp_r_a4" else _largest
  title = f"{variant}, {size[0]} x {size[1]}, rule A"
  yield Row(f"{title}: heat-maps", error(heatmaps, golden[f"heatmap{suffix}"]), limit)
  mean = float(np.abs(heatmaps - golden[f"heatmap{suffix}"]).mean())
  yield Row(f"{title}: heat-maps, mean", mean, 2e-4)
  rows = attention[-1].mean(0)[golden[f"attn_last{suffix}_rows_idx"]]
  yield Row(
    f"{title}: attention", _largest(rows, golden[f"attn_last{suffix}"]), attention_limit
  )
  if not suffix:
    found, expected = tokens[golden["reduce_tokens_idx"]], golden["reduce_tokens"]
    yield Row(f"{title}: tokens, relative", relative_error(found, expected), 1e-5)


def _rule_b_rows(
  golden: Mapping[str, np.ndarray],
  variant: str,
  shapes: str,
  size: tuple[int, int],
  suffix: str,
) -> Iterator[Row]:
  heatmaps, attention, _ = _evaluate(variant, shapes, size, REDUCE_SCALE[variant])
  title = f"{variant}, {size[0]} x {size[1]}, rule B"
  error = _largest(heatmaps, golden[f"B_heatmap{suffix}"])
  yield Row(f"{title}: heat-maps", error, 5e-5)
  if suffix:
    return
  rows = attention.mean(1)[:, golden["B_attn_rows_idx"]]
  yield Row(f"{title}: attention", _largest(rows, golden["B_attn_all"]), 1e-6)
  if "B_attn_last_heads" in golden:
    heads = attention[-1][:, golden["B_attn_last_heads_rows_idx"]]
    error = _largest(heads, golden["B_attn_last_heads"])
    yield Row(f"{title}: attention of every head", error, 1e-6)
  grid = [side // VARIANTS[variant].strides[0] for side in size]
  mean = attention[-1].mean(0)
  token = golden["B_query_token_x_y_idx"][2]
  for kind, weights in ("dependency", mean[token]), ("affected", mean[:, token]):
    found = jax.image.resize(weights.reshape(grid), size, "linear")
    error = _largest(found, golden[f"B_{kind}_map_kpt0"])
    yield Row(f"{title}: {kind} map", error, 1e-6)


def _largest(found: Any, expected: Any) -> float:
  """Returns the largest absolute difference."""
  return float(np.abs(np.asarray(found) - expected).max())
