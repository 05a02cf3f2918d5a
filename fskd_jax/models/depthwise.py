"""Depthwise convolutions: every channel has a kernel of its own.

On CPUs, XLA's grouped convolution is several times slower than this code, forward and
backward. GPUs and TPUs have it in hardware and keep it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], tuple[int, int]]
Strides = tuple[int, int]

LARGE_MAP = 2**18
"""Numbers in a map from which on its gradient is taken one image at a time."""


def convolve_depthwise(
  x: Float[Array, "t h w c"],
  kernel: Float[Array, "i j 1 c"],
  strides: Strides,
  padding: Padding,
) -> Float[Array, "t y x c"]:
  """Convolves every channel with its own kernel.

  On CPUs the result is a sum over the kernel's cells, each a shifted map times a row of
  weights. The gradient with respect to the map is such a sum for each phase of the
  strides; that with respect to the kernel is a loop over its cells, each a sum of
  products. Automatic differentiation would pad the slices to maps with holes instead.
  Each is many operations, so equal layers share one trace of them.

  Args:
    x: Maps.
    kernel: Kernels, one for each channel.
    strides: Steps down and to the right.
    padding: Zeros added before and after, down and to the right.
  """
  return _traced_once(x, kernel, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, strides: Strides, padding: Padding) -> Array:
  shifted = functools.partial(_shifted_sums, strides=strides, padding=padding)
  grouped = functools.partial(_grouped, strides=strides, padding=padding)
  return jax.lax.platform_dependent(x, kernel, cpu=shifted, default=grouped)


def _forward(
  x: Array, kernel: Array, strides: Strides, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
  return _convolve(x, kernel, strides, padding), (x, kernel)


def _backward(
  strides: Strides,
  padding: Padding,
  operands: tuple[Array, Array],
  cotangent: Array,
) -> tuple[Array, Array]:
  def shifted(cotangent: Array, x: Array, kernel: Array) -> tuple[Array, Array]:
    by_map = _gradient_by_map(cotangent, kernel, x.shape, strides, padding)
    by_kernel = _gradient_by_kernel(cotangent, x, kernel, strides, padding)
    return by_map, by_kernel

  def grouped(cotangent: Array, x: Array, kernel: Array) -> tuple[Array, Array]:
    convolve = functools.partial(_grouped, strides=strides, padding=padding)
    return jax.vjp(convolve, x, kernel)[1](cotangent)

  return jax.lax.platform_dependent(cotangent, *operands, cpu=shifted, default=grouped)


_convolve.defvjp(_forward, _backward)
_traced_once = jax.jit(_convolve, static_argnums=(2, 3))


def _grouped(x: Array, kernel: Array, strides: Strides, padding: Padding) -> Array:
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    strides,
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1],
  )


def _shifted_sums(x: Array, kernel: Array, strides: Strides, padding: Padding) -> Array:
  rows, columns = _sides(x.shape, kernel.shape, strides, padding)
  padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  accumulator = _accumulator(x)
  weights = kernel.astype(accumulator)
  total = jnp.zeros((x.shape[0], rows, columns, x.shape[3]), accumulator)
  for i, j in np.ndindex(*kernel.shape[:2]):
    cells = _window(padded, (i, j), (rows, columns), strides)
    total = _add_product(total, cells, weights, (i, j))
  return total.astype(x.dtype)


def _window(
  x: Array, first: tuple[int, int], sides: tuple[int, int], strides: Strides = (1, 1)
) -> Array:
  """Returns the cells x[:, i::strides[0], j::strides[1]][:, :rows, :columns].

  It is one operation when it is traced, where indexing is a dozen.
  """
  last = (a + (n - 1) * step + 1 for a, n, step in zip(first, sides, strides))
  limits = (x.shape[0], *last, x.shape[3])
  return jax.lax.slice(x, (0, *first, 0), limits, (1, *strides, 1))


def _add_product(
  total: Array, cells: Array, weights: Array, cell: tuple[int, int]
) -> Array:
  """Adds cells [t h w c] times the weights of a cell of the kernels [i j 1 c]."""
  i, j = cell
  row = jax.lax.slice(weights, (i, j, 0, 0), (i + 1, j + 1, 1, weights.shape[3]))
  row = jax.lax.broadcast_in_dim(row, total.shape, (0, 1, 2, 3))
  return jax.lax.add(total, jax.lax.mul(cells.astype(total.dtype), row))


def _gradient_by_map(
  cotangent: Array,
  kernel: Array,
  shape: tuple[int, ...],
  strides: Strides,
  padding: Padding,
) -> Array:
  """Sums shifted cotangents for every phase of the strides, and interleaves them."""
  sizes = [length + sum(ends) for length, ends in zip(shape[1:3], padding)]
  lengths = [-(-size // stride) for size, stride in zip(sizes, strides)]
  # Cell r of phase p is cell r * stride + p of the padded map. The kernel's cell
  # p + stride * s brings the cotangent of r - s there.
  steps = [(side - 1) // stride for side, stride in zip(kernel.shape, strides)]
  margins = [
    (step, max(length - given, 0))
    for step, length, given in zip(steps, lengths, cotangent.shape[1:3])
  ]
  g = jnp.pad(cotangent, ((0, 0), *margins, (0, 0)))
  accumulator = _accumulator(cotangent)
  weights = kernel.astype(accumulator)
  rows = []
  for p in range(strides[0]):
    columns = []
    for q in range(strides[1]):
      total = jnp.zeros((shape[0], *lengths, shape[3]), accumulator)
      for i in range(p, kernel.shape[0], strides[0]):
        for j in range(q, kernel.shape[1], strides[1]):
          top, left = steps[0] - i // strides[0], steps[1] - j // strides[1]
          cells = _window(g, (top, left), (lengths[0], lengths[1]))
          total = _add_product(total, cells, weights, (i, j))
      columns.append(total.astype(cotangent.dtype))
    rows.append(jnp.stack(columns, axis=3))
  whole = jnp.stack(rows, axis=2).reshape(
    shape[0], lengths[0] * strides[0], lengths[1] * strides[1], shape[3]
  )
  (top, _), (left, _) = padding
  return whole[:, top : top + shape[1], left : left + shape[2]]


def _gradient_by_kernel(
  cotangent: Array, x: Array, kernel: Array, strides: Strides, padding: Padding
) -> Array:
  """Sums products for one cell of the kernel after the other.

  It is a loop because XLA would sum unrolled cells in one pass, which does not fit into
  registers and takes five times as long. Of large maps it takes one image at a time,
  which then stays in the cache for all cells.
  """
  batch, channels = x.shape[0], x.shape[3]
  spans = [(n - 1) * step + 1 for n, step in zip(cotangent.shape[1:3], strides)]
  margins = [
    (before, max(span + side - 1 - length - before, 0))
    for (before, _), span, side, length in zip(
      padding, spans, kernel.shape, x.shape[1:3]
    )
  ]
  padded = jnp.pad(x, ((0, 0), *margins, (0, 0)))
  accumulator = _accumulator(x)
  images = 1 if x[0].size >= LARGE_MAP else batch

  def cell(index: Array) -> Array:
    first, i, j = index[0], index[1], index[2]
    cells = jax.lax.dynamic_slice(padded, (first, i, j, 0), (images, *spans, channels))
    cells = cells[:, :: strides[0], :: strides[1]]
    g = jax.lax.dynamic_slice_in_dim(cotangent, first, images)
    products = (cells.astype(accumulator) * g.astype(accumulator)).reshape(-1, channels)
    # A matrix product is up to four times faster for large maps than a sum that is
    # fused with the products.
    products = jax.lax.optimization_barrier(products)
    ones = jnp.ones(products.shape[0], accumulator)
    return jnp.matmul(ones, products, precision=jax.lax.Precision.HIGHEST)

  steps = np.array([*np.ndindex(batch // images, *kernel.shape[:2])], np.int32)
  found = jax.lax.map(cell, steps).reshape(-1, *kernel.shape).sum(0)
  return found.astype(kernel.dtype)


def _sides(
  shape: tuple[int, ...],
  kernel: tuple[int, ...],
  strides: Strides,
  padding: Padding,
) -> tuple[int, int]:
  """Returns height and width of the result."""
  height, width = (
    (length + sum(ends) - side) // stride + 1
    for length, ends, side, stride in zip(shape[1:3], padding, kernel, strides)
  )
  return height, width


def _accumulator(x: Array) -> jnp.dtype:
  """Returns the type of sums: at least float32, because float16 loses digits."""
  return jnp.promote_types(x.dtype, jnp.float32)
