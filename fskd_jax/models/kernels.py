"""The kernel generator: from keypoint prototypes to detection kernels."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fskd_jax.config import ModelConfig
from fskd_jax.config.fields import choices

KINDS = choices(ModelConfig, "kernel_generator")


class Kernels(NamedTuple):
  """Detection kernels of one size; the last linear layer may be deferred.

  Without `layer` the kernels are `taps`; with it (weight, offset) they are
  `taps @ weight + offset`. A deferred layer can be applied to the query features
  instead, where that is less work (see `smd`).

  Attributes:
    taps: Vectors of the kernels, [b n s s c].
    layer: None, or weight [c c] and offset, [b n s s c] or [1 1 1 1 c].
    bias: None, or number to add to each heat-map, [b n].
  """

  taps: Array
  layer: tuple[Array, Array] | None = None
  bias: Array | None = None


def materialize(kernels: Kernels) -> Kernels:
  """Applies the deferred layer, so that the taps are the kernels."""
  if kernels.layer is None:
    return kernels
  weight, offset = kernels.layer
  return Kernels(kernels.taps @ weight + offset, bias=kernels.bias)


class SpatialRefinement(nn.Module):
  """SRM: spreads each channel of a prototype over a size x size pattern.

  This is a transposed convolution of a 1x1 input, that is an outer product.

  Attributes:
    size: Side of the pattern.
    rectify: Whether a ReLU follows.
  """

  size: int
  rectify: bool

  @nn.compact
  def __call__(self, prototypes: Float[Array, "b n c"]) -> Float[Array, "b n s s c"]:
    """Expands prototypes to kernel taps."""
    shape = (self.size, self.size, prototypes.shape[-1])
    kernel = self.param("kernel", _near(jnp.ones), shape)
    bias = self.param("bias", nn.initializers.zeros, shape[-1:])
    taps = prototypes[:, :, None, None] * kernel[None, None]
    taps += bias[None, None, None, None]
    return nn.relu(taps) if self.rectify else taps


class DeferredLinear(nn.Module):
  """Linear layer over the channels that the consumer of the kernels applies.

  Attributes:
    start: Function from the shape of the weights to the mean of their initial values.
  """

  start: Callable[[tuple[int, ...]], Array]

  @nn.compact
  def __call__(
    self, taps: Float[Array, "b n s s c"], skip: Array | None = None
  ) -> Kernels:
    """Returns the taps with the layer's parameters.

    Args:
      taps: Input of the layer.
      skip: Array to add to the layer's result.
    """
    channels = taps.shape[-1]
    kernel = self.param("kernel", _near(self.start), (channels, channels))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    offset = bias[None, None, None, None]
    return Kernels(taps, (kernel, offset if skip is None else offset + skip))


class ChannelRefinement(nn.Module):
  """CRM: two linear layers over the channels with a ReLU between, near the identity.

  Attributes:
    residual: Whether the layers are added to the taps and start near zero, which is
      the form that learns from scratch.
  """

  residual: bool

  @nn.compact
  def __call__(self, taps: Float[Array, "b n s s c"]) -> Kernels:
    """Refines taps; the second layer is deferred."""
    hidden_init, start = nn.initializers.normal(0.01), _identity
    if self.residual:
      hidden_init, start = nn.initializers.he_normal(), jnp.zeros
    hidden = nn.Dense(taps.shape[-1], kernel_init=hidden_init, name="hidden")(taps)
    skip = taps if self.residual else None
    return DeferredLinear(start, name="output")(nn.relu(hidden), skip)


class BiasNet(nn.Module):
  """Predicts one number per prototype, added to its heat-maps.

  Weights start as in PyTorch; biases at 0.
  """

  @nn.compact
  def __call__(self, prototypes: Float[Array, "b n c"]) -> Float[Array, "b n"]:
    """Applies a perceptron of three layers."""
    init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    x = nn.relu(nn.Dense(256, kernel_init=init, name="layer1")(prototypes))
    x = nn.relu(nn.Dense(128, kernel_init=init, name="layer2")(x))
    return nn.Dense(1, kernel_init=init, name="layer3")(x)[..., 0]


class KernelGenerator(nn.Module):
  """Turns the prototypes of one scale into kernels of every size.

  Attributes:
    kernel_sizes: Odd sides s of the kernels.
    kind: Form of the generator: "srm_crm", or an ablation: "no_srm" (the prototype at
      every tap, then CRM), "no_crm" (SRM without ReLU), "linear" (one linear layer),
      "prototype" (nothing learned).
    shared_crm: Whether all sizes share one CRM (or linear layer).
    residual_crm: Form of the CRM, see `ChannelRefinement`.
    bias_net: Whether each size also has a bias.

  Source: docs/algorithm.md#kernel-generator.
  """

  kernel_sizes: tuple[int, ...]
  kind: str = "srm_crm"
  shared_crm: bool = True
  residual_crm: bool = False
  bias_net: bool = False

  @nn.compact
  def __call__(
    self, prototypes: Float[Array, "b n c"], *, deferred: bool = False
  ) -> tuple[Kernels, ...]:
    """Returns the kernels of each size.

    Args:
      prototypes: Keypoint prototypes.
      deferred: Whether the last linear layer may be left to the consumer, see
        `Kernels`; `smd.detect_keypoints` knows how to apply it.

    Raises:
      ValueError: `kind` is unknown, or a kernel size is even.
    """
    if self.kind not in KINDS:
      raise ValueError(f"kernel_generator: got {self.kind!r}, expected one of {KINDS}")
    if any(size % 2 == 0 for size in self.kernel_sizes):
      raise ValueError(f"kernel_sizes: expected odd sizes, got {self.kernel_sizes}")
    over_channels, generated = {}, []
    for size in self.kernel_sizes:
      name = "crm" if self.shared_crm else f"crm_{size}"
      if name not in over_channels:
        over_channels[name] = self._over_channels(name)
      kernels = over_channels[name](self._over_space(prototypes, size))
      if self.bias_net:
        kernels = kernels._replace(bias=BiasNet(name=f"bias_net_{size}")(prototypes))
      generated.append(kernels if deferred else materialize(kernels))
    return tuple(generated)

  def _over_space(self, prototypes: Array, size: int) -> Array:
    if size > 1 and self.kind in ("srm_crm", "no_crm"):
      rectify = self.kind == "srm_crm"
      return SpatialRefinement(size, rectify, name=f"srm_{size}")(prototypes)
    b, n, c = prototypes.shape
    return jnp.broadcast_to(prototypes[:, :, None, None], (b, n, size, size, c))

  def _over_channels(self, name: str) -> Callable[[Array], Kernels]:
    if self.kind in ("srm_crm", "no_srm"):
      return ChannelRefinement(self.residual_crm, name=name)
    return DeferredLinear(_identity, name=name) if self.kind == "linear" else Kernels


def _identity(shape: tuple[int, ...]) -> Array:
  return jnp.eye(shape[0])


def _near(start: Callable[[tuple[int, ...]], Array]) -> Callable[..., Array]:
  """Returns an initializer: N(start, 0.001^2)."""
  return lambda key, shape: start(shape) + 1e-3 * jax.random.normal(key, shape)
