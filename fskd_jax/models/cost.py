"""Counts the parameters and multiply-adds of a TransPose."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fskd_jax.models.transformer import SelfAttention
from fskd_jax.models.transpose import Deconvolution, TransPose, init_variables


def published_parameters(model: TransPose) -> int:
  """Counts parameters as the paper does: with the constant sine embedding.

  Our `params` do not include it, because it is not trained.

  Source: docs/transpose.md#size-and-cost.
  """
  params = jax.eval_shape(lambda: init_variables(model, seed=0))["params"]
  transformer, stride = model.config.transformer, model.config.strides[0]
  cells = math.prod(side // stride for side in model.image_size)
  constant = cells * transformer.width if transformer.position == "sine" else 0
  return constant + sum(x.size for x in jax.tree.leaves(params))


def multiply_adds(model: TransPose) -> dict[str, int]:
  """Counts the multiply-adds of matrix products for one image, by kind.

  The code that the published numbers come from counts every deconvolution four times
  (by its output cells), and adds normalisations, softmax and ReLU.

  Source: docs/transpose.md#size-and-cost.
  """
  kinds = ("convolution", "deconvolution", "feed_forward", "projection", "attention")
  counts: dict[str, int] = {kind: 0 for kind in kinds}

  def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    result, module = call(*args, **kwargs), context.module
    if context.method_name != "__call__":
      return result
    if isinstance(module, nn.Conv):
      *taps, _ = module.variables["params"]["kernel"].shape
      counts["convolution"] += math.prod(taps) * result.size
    elif isinstance(module, Deconvolution):
      counts["deconvolution"] += 16 * module.width * args[0].size
    elif isinstance(module, SelfAttention):
      _, length, channels = args[0].shape
      counts["projection"] += 4 * length * channels**2
      counts["attention"] += 2 * length**2 * channels
    elif isinstance(module, nn.Dense) and module.path[-1].startswith("linear"):
      counts["feed_forward"] += args[0].shape[-1] * result.size
    return result

  image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
  with nn.intercept_methods(record):
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
  return counts
