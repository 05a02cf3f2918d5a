"""Gradients of predictions with respect to tokens, compared with attention.

The gradient of a heat-map at one place with respect to every input token x_j of the
last attention layer, three ways. Notation: A^h_ij the attention of head h; z_i the
sum of token i and what it attended to, before the LayerNorm; g_i = d score / d z_i;
V^h and O^h the parts of the value and the output projection that belong to head h.

exact        d score / d x_j, by JAX.
closed form  g_j + sum_i sum_h A^h_ij V^h O^h g_i: exact except for the path through the
             attention weights, which it takes as constants. Few g_i are not zero: one
             before a head of 1x1 convolutions, up to four before a deconvolution.
supplement   A_ij V g_i + g_i ("A K + B"), with A the mean over the heads and i the
             token at the place: it leaves out the output projection, the heads and
             further tokens, and has the residual g_i in every token, not only in i.

Source: supplement of TransPose, section D, equations 4 and 5.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num
from scipy import stats

from fskd_jax.models.transpose import TransPose


class TokenGradients(NamedTuple):
  """Gradients of one heat-map value per keypoint; NumPy arrays.

  Attributes:
    heatmaps: [n h w], the heat-maps.
    attention: [heads L L], the attention of the last layer.
    cells: int [n 2], (row, column) of the differentiated value in its heat-map.
    tokens: int [n], the token at that cell.
    exact: [n L d], the exact gradient.
    closed_form: [n L d], the closed form.
    supplement: [n L d], the supplement's form.
    direct: bool [n L], whether the value depends on each token without attention.
  """

  heatmaps: np.ndarray
  attention: np.ndarray
  cells: np.ndarray
  tokens: np.ndarray
  exact: np.ndarray
  closed_form: np.ndarray
  supplement: np.ndarray
  direct: np.ndarray


class Agreement(NamedTuple):
  """Agreement of a quantity per token with the norms of the exact gradient.

  Attributes:
    pearson: The correlation; nan if all values are zero.
    spearman: The correlation of the ranks.
    error: |difference| / |exact| of a gradient, each norm over all tokens together; nan
      for other quantities.
  """

  pearson: float
  spearman: float
  error: float


def token_gradients(
  model: TransPose,
  variables: Mapping[str, Any],
  image: Num[Array | np.ndarray, "H W 3"],
  cells: Int[np.ndarray, "n 2"] | None = None,
) -> TokenGradients:
  """Differentiates one value of every keypoint's heat-map, all in one backward pass.

  Args:
    model: The network.
    variables: The variables of the network.
    image: RGB, 0..255.
    cells: (row, column) in the heat-maps; default: the highest value of each.
  """
  with jax.default_matmul_precision("highest"):
    found = jax.jit(_differentiate(model))(variables, image[None], cells)
  heatmaps, attention, places, exact, score = jax.device_get(found)
  grid = [side // model.config.strides[0] for side in image.shape[:2]]
  rows, columns = (places * grid // heatmaps.shape[1:]).T
  tokens = rows * grid[1] + columns
  layer = variables["params"]["encoder"]["transformer"][_last_layer(model)]
  projections = layer["attention"]
  value = np.asarray(projections["in_kernel"])[:, -exact.shape[-1] :]
  output = np.asarray(projections["out_projection"]["kernel"])
  averaged = attention.mean(0)
  return TokenGradients(
    heatmaps=heatmaps,
    attention=attention,
    cells=places,
    tokens=tokens,
    exact=exact,
    closed_form=np.stack([closed_form(g, attention, value, output) for g in score]),
    supplement=np.stack(
      [supplement_form(g[i], averaged[i], value) for g, i in zip(score, tokens)]
    ),
    direct=score.any(-1),
  )


def closed_form(
  score: Float[np.ndarray, "L d"],
  attention: Float[np.ndarray, "heads L L"],
  value: Float[np.ndarray, "d d"],
  output: Float[np.ndarray, "d d"],
) -> Float[np.ndarray, "L d"]:
  """Returns g_j + sum_i sum_h A^h_ij V^h O^h g_i.

  Args:
    score: The gradients g, zero for most tokens.
    attention: The attention of each head.
    value: The kernel of the value projection, head after head along the last axis.
    output: The kernel of the output projection, head after head along the first axis.
  """
  reached = score.any(-1)
  gradient = score.copy()
  heads = len(attention)
  parts = np.split(value, heads, axis=1), np.split(output, heads, axis=0)
  for weights, into, out in zip(attention, *parts):
    gradient += weights[reached].T @ (score[reached] @ out.T @ into.T)
  return gradient


def supplement_form(
  score: Float[np.ndarray, " d"],
  attention: Float[np.ndarray, " L"],
  value: Float[np.ndarray, "d d"],
) -> Float[np.ndarray, "L d"]:
  """Returns A_ij V g_i + g_i for every token j.

  Args:
    score: The gradient g_i of the token i at the place.
    attention: The row of i, mean over the heads.
    value: The kernel of the value projection.
  """
  return attention[:, None] * (value @ score)[None] + score[None]


def compare(found: TokenGradients, keypoint: int) -> dict[str, Agreement]:
  """Compares both approximations, and attention itself, with the exact gradient.

  Only the tokens that the value depends on through attention alone are compared. The
  others have the gradient of the residual as well, a hundred times larger or more,
  which would dominate every correlation.

  Returns:
    The agreement of "closed form", "supplement" and "attention" (the row of the token,
    mean over the heads).
  """
  chosen = ~found.direct[keypoint]
  exact = found.exact[keypoint, chosen]
  attention = found.attention.mean(0)[found.tokens[keypoint], chosen]
  return {
    "closed form": _agreement(found.closed_form[keypoint, chosen], exact),
    "supplement": _agreement(found.supplement[keypoint, chosen], exact),
    "attention": _agreement(attention, exact),
  }


def _agreement(
  found: Float[np.ndarray, "L ..."], exact: Float[np.ndarray, "L d"]
) -> Agreement:
  norms, values, error = np.linalg.norm(exact, axis=-1), found, np.nan
  with np.errstate(divide="ignore", invalid="ignore"):
    if found.ndim == exact.ndim:
      values = np.linalg.norm(found, axis=-1)
      error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    return Agreement(
      pearson=_correlation(values, norms),
      spearman=_correlation(stats.rankdata(values), stats.rankdata(norms)),
      error=float(error),
    )


def _correlation(x: Float[np.ndarray, " L"], y: Float[np.ndarray, " L"]) -> float:
  return float(np.corrcoef(x, y)[0, 1])


def _differentiate(model: TransPose) -> Callable[..., Any]:
  """Returns (variables, images, cells) -> heat-maps, attention, cells, exact, score."""
  layer = ("encoder", "transformer", _last_layer(model))

  def run(variables, images, cells):
    def apply(shifts: dict[tuple[str, ...], Array]):
      """Adds `shifts` to the inputs of the modules with these paths."""

      def add_shift(call, args, kwargs, context):
        shift = shifts.get(context.module.path)
        if shift is not None and context.method_name == "__call__":
          args = (args[0] + shift.astype(args[0].dtype), *args[1:])
        return call(*args, **kwargs)

      with nn.intercept_methods(add_shift):
        heatmaps, sown = model.apply(
          variables, images, train=False, mutable=["intermediates"]
        )
      found = sown["intermediates"]
      for name in (*layer, "attention"):
        found = found[name]
      return heatmaps[0], found["attention"][0][0]

    stride, width = model.config.strides[0], model.config.transformer.width
    num_tokens = images.shape[1] // stride * (images.shape[2] // stride)
    zeros = jnp.zeros((1, num_tokens, width))
    norm = (*layer, "norm1")
    heatmaps, pull_back, attention = jax.vjp(
      apply, {layer: zeros, norm: zeros}, has_aux=True
    )
    if cells is None:
      highest = heatmaps.reshape(len(heatmaps), -1).argmax(-1)
      cells = jnp.stack(jnp.unravel_index(highest, heatmaps.shape[1:]), axis=-1)

    def gradient(place):
      (found,) = pull_back(jnp.zeros_like(heatmaps).at[tuple(place)].set(1.0))
      return found[layer][0], found[norm][0]

    places = jnp.concatenate([jnp.arange(len(heatmaps))[:, None], cells], axis=1)
    exact, score = jax.lax.map(gradient, places)
    return heatmaps, attention, cells, exact, score

  return run


def _last_layer(model: TransPose) -> str:
  return f"layer{model.config.transformer.layers - 1}"
