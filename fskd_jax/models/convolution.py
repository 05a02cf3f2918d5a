"""Convolutions in the forms that are fast on each kind of device."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax.models.depthwise import Padding, convolve_depthwise

SMALL_WINDOW = 32
"""Largest number of inputs of one output for which a product is faster on CPUs."""


_is_plain = contextvars.ContextVar("is_plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
  """Makes every convolution a single operation while variables are drawn.

  What the network computes does not matter then, and the forms that are fast take
  most of the time that it takes to trace a network. Batch norm passes its input on.
  """
  token = _is_plain.set(True)
  try:
    yield
  finally:
    _is_plain.reset(token)


def is_plain() -> bool:
  """Returns whether this is within `plain`."""
  return _is_plain.get()


def convolve(
  x: Float[Array, "t h w c"],
  kernel: Float[Array, "i j e d"],
  strides: tuple[int, int],
  padding: Any,
  feature_group_count: int = 1,
  **options: Any,
) -> Float[Array, "t y x d"]:
  """Convolves, for `nn.Conv(conv_general_dilated=convolve)`.

  A 1x1 convolution is written as the matrix product it is: on CPUs several times
  faster than as a convolution, elsewhere the same. For strided ones see `_strided`, for
  one kernel per channel `convolve_depthwise`.

  Raises:
    NotImplementedError: There are groups of several channels.
  """
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
  # Hashable, as nn.Conv's need not be.
  strides, padding = (strides[0], strides[1]), tuple(map(tuple, padding))
  if is_plain():
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      strides,
      padding,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=feature_group_count,
    )
  if feature_group_count > 1:
    if not feature_group_count == x.shape[-1] == kernel.shape[-1]:
      raise NotImplementedError(
        f"feature_group_count: got {feature_group_count} for kernels {kernel.shape}, "
        f"expected 1 or as many as there are channels, {x.shape[-1]}, in and out"
      )
    return convolve_depthwise(x, kernel, strides, padding)
  if kernel.shape[:2] == (1, 1):
    x = x[:, :: strides[0], :: strides[1]]
    # As rows: the gradient of a product over several axes copies transposed maps.
    rows = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
    return rows.reshape(*x.shape[:-1], -1)
  if max(strides) == 1:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  return _strided(x, kernel, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(
  x: Array, kernel: Array, strides: tuple[int, int], padding: Padding
) -> Array:
  """Convolves with strides.

  On CPUs the gradient is that of `_as_product`. XLA's own gradients are convolutions
  over maps with holes between their cells, which take up to twice the time. So do
  kernels on RGB.
  """
  direct, product = _forms(strides, padding)
  if kernel[..., 0].size > SMALL_WINDOW:
    return direct(x, kernel)
  return jax.lax.platform_dependent(x, kernel, cpu=product, default=direct)


def _strided_forward(
  x: Array, kernel: Array, strides: tuple[int, int], padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
  return _strided(x, kernel, strides, padding), (x, kernel)


def _strided_backward(
  strides: tuple[int, int],
  padding: Padding,
  operands: tuple[Array, Array],
  cotangent: Array,
) -> tuple[Array, Array]:
  def gradient(form: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
    return lambda cotangent, *operands: jax.vjp(form, *operands)[1](cotangent)

  direct, product = map(gradient, _forms(strides, padding))
  return jax.lax.platform_dependent(cotangent, *operands, cpu=product, default=direct)


_strided.defvjp(_strided_forward, _strided_backward)


def _forms(
  strides: tuple[int, int], padding: Padding
) -> tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]:
  """Returns two ways to convolve: directly, and `_as_product`."""
  direct = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=strides,
    padding=padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return direct, functools.partial(_as_product, strides=strides, padding=padding)


def _as_product(
  x: Array, kernel: Array, strides: tuple[int, int], padding: Padding
) -> Array:
  """Convolves by a matrix product: all windows, laid out in rows, and the kernel."""
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  rows, columns = (
    (length - side) // stride + 1
    for length, side, stride in zip(x.shape[1:3], kernel.shape, strides)
  )
  cells = [
    x[:, i :: strides[0], j :: strides[1]][:, :rows, :columns]
    for i, j in np.ndindex(*kernel.shape[:2])
  ]
  windows = jnp.concatenate(cells, axis=-1).reshape(-1, kernel[..., 0].size)
  products = windows @ kernel.reshape(-1, kernel.shape[-1])
  return products.reshape(x.shape[0], rows, columns, -1)
