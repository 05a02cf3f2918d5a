"""Layers of encoders: batch norm and convolutions with less work than flax's."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from fskd_jax.models.convolution import convolve, is_plain

EPSILON = 1e-5
"""Number added to variances, unless an encoder has its own."""


_is_undrawn = contextvars.ContextVar("is_undrawn", default=False)


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
  """Makes all that `parameter` draws zeros, for whoever asks for the shapes alone.

  Not within `jax.jit`, which would keep the zeros.
  """
  token = _is_undrawn.set(True)
  try:
    yield
  finally:
    _is_undrawn.reset(token)


def conv_and_norm(
  kernel_init: nn.initializers.Initializer,
  *,
  train: bool,
  momentum: float,
  dtype: DTypeLike,
  axis_name: str | None,
  epsilon: float = EPSILON,
) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module]]:
  """Returns the makers of an encoder's convolutions and batch norms.

  Args:
    kernel_init: Initializer of the convolutions, which have no bias.
    train: Whether batch norm uses the statistics of the batch and records them.
    momentum: Decay of the running statistics.
    dtype: Type of the activations.
    axis_name: Device axis over which statistics are synchronised.
    epsilon: Number added to variances.
  """
  conv = functools.partial(Conv, use_bias=False, dtype=dtype, kernel_init=kernel_init)
  norm = functools.partial(
    BatchNorm,
    use_running_average=not train,
    momentum=momentum,
    dtype=dtype,
    axis_name=axis_name,
    epsilon=epsilon,
  )
  return conv, norm


def parameter(
  module: nn.Module,
  name: str,
  initializer: nn.initializers.Initializer,
  shape: tuple[int, ...],
) -> Array:
  """Returns a parameter of a module, as `module.param` does.

  When a network is applied, flax traces every initializer to compare the shapes, which
  takes longer than the rest of a layer.

  Args:
    module: The module, within its call.
    name: Name of the parameter.
    initializer: What draws it.
    shape: Its shape.

  Raises:
    flax.errors.ScopeParamShapeError: The parameter has another shape.
  """
  if not module.has_variable("params", name):
    initializer = nn.initializers.zeros if _is_undrawn.get() else initializer
    return module.param(name, initializer, shape)
  value = module.get_variable("params", name)
  if value.shape != shape:
    path = "/" + "/".join(module.path)
    raise flax.errors.ScopeParamShapeError(name, path, value.shape, shape)
  return value


class Conv(nn.Conv):
  """`nn.Conv` over maps [t h w c], by `convolve`, and quicker to trace."""

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t y x d"]:
    """Convolves."""
    groups = self.feature_group_count
    shape = (*_pair(self.kernel_size), x.shape[-1] // groups, self.features)
    kernel = parameter(self, "kernel", self.kernel_init, shape)
    dtype = self.dtype or jnp.promote_types(x.dtype, kernel.dtype)
    padding = self.padding
    if isinstance(padding, int):
      padding = [(padding, padding)] * 2
    y = convolve(
      x.astype(dtype),
      kernel.astype(dtype),
      _pair(self.strides or 1),
      padding,
      groups,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    if self.use_bias:
      bias = parameter(self, "bias", self.bias_init, (self.features,))
      y = y + _row(bias.astype(dtype), y)
    return y


class BatchNorm(nn.Module):
  """Batch norm over all axes but the last, with the variables of `nn.BatchNorm`.

  The variance is taken about the mean: E[x^2] - E[x]^2 loses digits that PyTorch
  keeps. Running variances are the biased ones.

  Attributes:
    use_running_average: Whether the running statistics are used, and not changed.
    momentum: Decay of the running statistics.
    dtype: Type of the output; statistics and parameters are float32 or finer.
    axis_name: Device axis over which statistics are synchronised.
    scale_init: Initializer of the gain.
    epsilon: Number added to variances.
  """

  use_running_average: bool
  momentum: float = 0.9
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x: Float[Array, "*t c"]) -> Float[Array, "*t c"]:
    """Normalises."""
    channels = x.shape[-1:]
    scale = parameter(self, "scale", self.scale_init, channels)
    bias = parameter(self, "bias", nn.initializers.zeros, channels)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
    running_var = self.variable("batch_stats", "var", jnp.ones, channels)
    if is_plain():
      return x.astype(self.dtype)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, var = running_mean.value, running_var.value
    if not self.use_running_average:
      mean, var = self._statistics(x, mean)
      if not self.is_initializing():
        for running, now in ((running_mean, mean), (running_var, var)):
          running.value = self.momentum * running.value + (1 - self.momentum) * now
    gain = scale * jax.lax.rsqrt(var + self.epsilon)
    # Not (x - mean) * gain + bias, for which XLA would share x - mean with the variance
    # and write it to memory in between.
    return (x * _row(gain, x) + _row(bias - mean * gain, x)).astype(self.dtype)

  def _statistics(self, x: Array, center: Array) -> tuple[Array, Array]:
    """Returns mean and variance over all devices, with one collective."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    # The derivative with respect to the mean is zero: deviations from it sum to zero.
    deviations = x - _row(jax.lax.stop_gradient(mean), x)
    var = jnp.square(deviations).mean(axes)
    if self.axis_name is None:
      return mean, var
    # The variance of the means, from their squares. Relative to the running mean, which
    # is the same on all devices, these are small and lose few digits.
    offset = mean - center
    offset, square, var = jax.lax.pmean(
      jnp.stack([offset, jnp.square(offset), var]), self.axis_name
    )
    between = jnp.maximum(square - jnp.square(offset), 0.0)
    return center + offset, var + between


def _pair(sides: int | Sequence[int]) -> tuple[int, int]:
  return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


def _row(vector: Array, x: Array) -> Array:
  return vector.reshape((1,) * (x.ndim - 1) + vector.shape)
