"""TransPose: heat-maps of a fixed set of keypoints, by attention."""

import copy
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from fskd_jax.config import ModelConfig, TransformerConfig, keeping
from fskd_jax.models import convolution
from fskd_jax.models.encoder import build_encoder, normalize_for

HEATMAP_STRIDE = 4


def _resnet(layers: int) -> ModelConfig:
  transformer = TransformerConfig(layers=layers, width=256, hidden=1024, heads=8)
  return ModelConfig(strides=(8,), transformer=transformer, freeze_until="")


def _hrnet(width: int, layers: int, channels: int) -> ModelConfig:
  return ModelConfig(
    encoder="hrnet",
    hrnet_width=width,
    strides=(4,),
    transformer=TransformerConfig(
      layers=layers, width=channels, hidden=2 * channels, heads=1
    ),
    freeze_until="",
  )


VARIANTS = {
  "tp_r_a3": _resnet(layers=3),
  "tp_r_a4": _resnet(layers=4),
  "tp_h_s": _hrnet(width=32, layers=4, channels=64),
  "tp_h_a4": _hrnet(width=48, layers=4, channels=96),
  "tp_h_a6": _hrnet(width=48, layers=6, channels=96),
}
"""The published models (docs/transpose.md#variants); copy one before changing it."""


class Deconvolution(nn.Module):
  """4x4 transposed convolution with stride 2: twice the height and the width.

  Written as one matrix product: each output cell sees 2x2 input cells, through one
  of four sets of weights. XLA's gradient of such a convolution takes seconds on CPUs.

  Attributes:
    width: Number of output channels.
    dtype: Type of the activations.

  Source: docs/transpose.md#heads.
  """

  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t 2*h 2*w d"]:
    """Applies the convolution, with zeros around the map."""
    t, h, w, c = x.shape
    # PyTorch's order: row 2y + a of the output is row y + i - 1 + a of the input times
    # row 3 - (2i + a) of the kernel, with i = 0 or 1; columns alike.
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    kernel = self.param("kernel", init, (4, 4, self.width, c))
    x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
    kernel = kernel[::-1, ::-1].reshape(2, 2, 2, 2, self.width, c)
    kernel = kernel.transpose(0, 2, 5, 1, 3, 4).reshape(4 * c, 4 * self.width)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [x[:, i : i + h + 1, j : j + w + 1] for i in (0, 1) for j in (0, 1)]
    y = jnp.concatenate(windows, -1) @ kernel
    y = y.reshape(t, h + 1, w + 1, 2, 2, self.width)
    rows = [
      jnp.stack([y[:, a : a + h, b : b + w, a, b] for b in (0, 1)], 3) for a in (0, 1)
    ]
    return jnp.stack(rows, 2).reshape(t, 2 * h, 2 * w, self.width)


class TransPose(nn.Module):
  """Backbone, transformer and a light head; raw heat-maps at stride 4.

  Parameters live under `encoder`, `deconv_{i}`, `deconv_bn_{i}` and `final`.
  Initialisation differs from the original, whose convolutions start near 0 and rely on
  pretrained weights. Here they start with He's variance, to learn from scratch. The
  last convolution is small in both, because most of a target is near 0.

  Attributes:
    config: The architecture.
    image_size: Height and width of the input it is made for, pixels. Others work
      too: sine embeddings are computed anew, learnable ones interpolated.
    num_keypoints: Number n of keypoints.
    axis_name: Device axis over which batch statistics are synchronised.

  Source: docs/transpose.md#networks.
  """

  config: ModelConfig
  image_size: tuple[int, int]
  num_keypoints: int
  axis_name: str | None = None

  def setup(self) -> None:
    """Names the parts.

    Raises:
      ValueError: The configuration has no transformer, or `build_encoder` raises it.
    """
    config = self.config
    if not config.transformer.layers:
      raise ValueError("transformer.layers: got 0, TransPose needs at least 1")
    self.encoder = build_encoder(config, self.image_size, self.axis_name)
    dtype, channels = jnp.dtype(config.compute_dtype), config.transformer.width
    num_doublings = (config.strides[0] // HEATMAP_STRIDE).bit_length() - 1
    self.deconv = [Deconvolution(channels, dtype) for _ in range(num_doublings)]
    self.deconv_bn = [
      nn.BatchNorm(
        momentum=config.batch_norm_momentum,
        use_fast_variance=False,  # as in `ResNet`
        dtype=dtype,
        axis_name=self.axis_name,
      )
      for _ in range(num_doublings)
    ]
    self.final = nn.Conv(
      self.num_keypoints, (1, 1), kernel_init=nn.initializers.normal(1e-3)
    )

  def __call__(
    self, images: Num[Array, "t H W 3"], *, train: bool
  ) -> Float[Array, "t n h w"]:
    """Computes one heat-map for every keypoint.

    Args:
      images: Images, RGB, 0..255.
      train: Whether batch norm uses the statistics of this batch and records them in
        `batch_stats`, and dropout is on, from the stream "dropout". Neither with
        frozen batch norm.

    Returns:
      float32, stride 4.

    Raises:
      ValueError: The sides of the images do not divide by the encoder's strides.
    """
    return self.from_normalized(normalize_for(self.config, images), train=train)

  def from_normalized(
    self, images: Float[Array, "t H W 3"], *, train: bool
  ) -> Float[Array, "t n h w"]:
    """Computes heat-maps as `__call__`, of images that `normalize_for` returned."""
    train = train and self.config.batch_norm == "running"
    (x,) = self.encoder(images, train=train)
    for deconv, norm in zip(self.deconv, self.deconv_bn):
      x = nn.relu(norm(deconv(x), use_running_average=not train))
    return self.final(x.astype(jnp.float32)).transpose(0, 3, 1, 2)


def init_variables(model: TransPose, seed: int) -> dict[str, Any]:
  """Returns the initial variables of a network: {"params", "batch_stats"}."""
  image = jnp.zeros((1, *model.image_size, 3), jnp.float32)
  of = model.config, model.image_size, model.num_keypoints
  init = keeping.kept(
    ("init of TransPose", *of),
    lambda: jax.jit(functools.partial(TransPose(*copy.deepcopy(of)).init, train=False)),
  )
  with convolution.plain():
    return {**init(jax.random.key(seed), image)}


def attention_maps(
  model: TransPose, variables: Mapping[str, Any], images: Num[Array, "t H W 3"]
) -> tuple[Float[Array, "t n h w"], Float[Array, "layers t heads l l"]]:
  """Computes heat-maps and the attention weights of every layer.

  Args:
    model: The network.
    variables: Variables of the network.
    images: Images, RGB, 0..255.

  Returns:
    The heat-maps, and the weight [.., i, j] with which token i reads token j. Tokens
    are the cells of the encoder's map in row-major order; rows sum to 1.
  """
  output: Any = model.apply(variables, images, train=False, mutable=["intermediates"])
  heatmaps, sown = output
  return heatmaps, gather_attention(sown["intermediates"])


def gather_attention(
  intermediates: Mapping[str, Any],
) -> Float[Array, "layers t heads l l"]:
  """Stacks what the layers of a `TransPose` sowed into "intermediates"."""
  layers = intermediates["encoder"]["transformer"]
  weights = [layers[f"layer{i}"]["attention"]["attention"] for i in range(len(layers))]
  return jnp.concatenate([jnp.stack(sown) for sown in weights])
