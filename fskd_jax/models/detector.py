"""The few-shot keypoint detector: all parts in reading order."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from fskd_jax import episode
from fskd_jax.config import ModelConfig, keeping
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.models import convolution, layers
from fskd_jax.models.aggregator import masked_mean, pool_features
from fskd_jax.models.chunks import map_in_chunks
from fskd_jax.models.encoder import build_encoder, normalize_for
from fskd_jax.models.kernels import KernelGenerator, Kernels
from fskd_jax.models.mds import Modulator
from fskd_jax.models.smd import detect_keypoints
from fskd_jax.models.upsample import HeatmapUpsampler, resize_bilinear


class DetectorOutput(NamedTuple):
  """Output of the detector for episodes.

  Attributes:
    heatmaps: Heat-maps of every group, float32 [b m n h w]. A group is a stride and a
      kernel size; all sizes of the first stride come first. With rotated support, b is
      b * t.
    features: Coarsest feature map of every image, float32 [b t h w c], support first.
  """

  heatmaps: tuple[Float[Array, "b m n h w"], ...]
  features: Float[Array, "b t h w c"]


class FewShotDetector(nn.Module):
  """Finds in query images the keypoints that are annotated in support images.

  Parameters live under `encoder`, `kernel_generator_{stride}` (of the head "mds":
  `modulator_{stride}`) and `upsampler_{stride}_{kernel size}`.

  Attributes:
    config: The architecture.
    image_size: Side of the input, pixels.
    axis_name: Device axis over which the configured encoder synchronises its batch
      statistics.
    own_encoder: Module to use instead of the encoder that `config` names; its
      parameters live under `encoder`, too. Called as `own_encoder(images, train=...)`
      with images [t L L 3] normalised by `normalize_for`, it returns a tuple of maps
      [t h w c], one for each of `config.strides`.

  Source: docs/algorithm.md.
  """

  config: ModelConfig
  image_size: int
  axis_name: str | None = None
  own_encoder: nn.Module | None = None

  def setup(self) -> None:
    """Names the parts."""
    config = self.config
    self.encoder = (
      build_encoder(config, self.image_size, self.axis_name)
      if self.own_encoder is None
      else self.own_encoder.clone(parent=None, name=None)  # named `encoder` here
    )
    self.kernel_generator = {
      str(stride): KernelGenerator(
        config.kernel_sizes,
        "prototype" if config.head == "mds" else config.kernel_generator,
        config.shared_crm,
        config.residual_crm,
        config.bias_net,
      )
      for stride in config.strides
    }
    self.modulator = {  # has parameters only where it is used
      str(stride): Modulator(config.mds_widths, jnp.dtype(config.compute_dtype))
      for stride in config.strides
    }
    scales = _per_stride(config.heatmap_scale, config.strides)
    self.upsampler = {
      f"{stride}_{size}": HeatmapUpsampler(config.heatmap_upsampling, scale)
      for stride, scale in zip(config.strides, scales)
      for size in config.kernel_sizes
    }

  def __call__(
    self, batch: EpisodeBatch, *, train: bool, rotate_support: bool = False
  ) -> DetectorOutput:
    """Detects the support keypoints of each episode in its query images.

    Args:
      batch: Episodes. The annotations of the query are used with rotated support only.
      train: Whether batch norm uses the statistics of this batch and records them in
        `batch_stats`.
      rotate_support: Whether every image of an episode is support once, see
        `episode.rotate_support`.

    Raises:
      ValueError: Shapes disagree with each other or with `image_size`.
    """
    for name, views in (("support", batch.support), ("query", batch.query)):
      _check(name, self.image_size, views.images, views.keypoints, views.visible)
    support, query = batch.support.visible.shape, batch.query.visible.shape
    if support[::2] != query[::2]:
      raise ValueError(
        f"visible: got support [b k n] {support} and query [b m n] {query}, "
        "expected the same numbers of episodes and keypoint types"
      )
    support, query = (
      views._replace(images=normalize_for(self.config, views.images))
      for views in (batch.support, batch.query)
    )
    batch = batch._replace(support=support, query=query)
    return self.detect_normalized(batch, train=train, rotate_support=rotate_support)

  def detect_normalized(
    self, batch: EpisodeBatch, *, train: bool, rotate_support: bool = False
  ) -> DetectorOutput:
    """Detects as `__call__`, in images that `normalize_for` returned."""
    images = jnp.concatenate([batch.support.images, batch.query.images], axis=1)
    return self._match(self._encode(images, train), batch, rotate_support)

  def detect_encoded(self, batch: EpisodeBatch) -> DetectorOutput:
    """Detects as `__call__`, given what `encode` returned in the place of images."""
    pairs = zip(batch.support.images, batch.query.images)
    return self._match(tuple(jnp.concatenate(x, axis=1) for x in pairs), batch)

  def _match(
    self,
    features: tuple[Array, ...],
    batch: EpisodeBatch,
    rotate_support: bool = False,
  ) -> DetectorOutput:
    """Detects given the maps of all images, [b t h w c] of every stride."""
    keypoints, visible = (
      jnp.concatenate(pair, axis=1)
      for pair in zip(batch.support.annotations()[1:], batch.query.annotations()[1:])
    )
    shots, num_images = batch.support.visible.shape[1], visible.shape[1]
    roles = (features, keypoints, visible)
    if rotate_support:
      roles = episode.rotate_support(roles, num_images)
    support, keypoints, visible = jax.tree.map(lambda x: x[:, :shots], roles)
    query = jax.tree.map(lambda x: x[:, shots:], roles[0])
    prototypes = self._prototypes(support, keypoints, visible)
    heatmaps = self._detect(query, prototypes, self._generator)
    coarsest = min(features, key=lambda x: x.shape[2])
    return DetectorOutput(heatmaps, coarsest.astype(jnp.float32))

  def encode(
    self, images: Num[Array, "b t l l 3"]
  ) -> tuple[Float[Array, "b t h w c"], ...]:
    """Returns the feature maps of images, one of each stride.

    Args:
      images: RGB, 0..255.

    Raises:
      ValueError: The images are not of `image_size`.
    """
    _check("encoded", self.image_size, images)
    return self._encode(normalize_for(self.config, images), train=False)

  def encode_support(
    self,
    images: Num[Array, "b k l l 3"],
    keypoints: Float[Array, "b k n 2"],
    visible: Bool[Array, "b k n"],
  ) -> tuple[Kernels, ...]:
    """Returns kernels that serve any number of query images.

    Args:
      images: Support images, RGB, 0..255.
      keypoints: Keypoints, pixels of the images.
      visible: Mask of the annotated keypoints.

    Returns:
      The kernels of every group, nothing deferred.

    Raises:
      ValueError: Shapes disagree with each other or with `image_size`.
    """
    _check("support", self.image_size, images, keypoints, visible)
    features = self._encode(normalize_for(self.config, images), train=False)
    kernels, largest = [], max(self.config.kernel_sizes) ** 2
    for stride, prototypes in zip(
      self.config.strides, self._prototypes(features, keypoints, visible)
    ):
      kernels += map_in_chunks(
        self._generator(stride, deferred=False),
        prototypes,
        numbers=largest * prototypes[:, 0].size,
        axis=1,
      )
    return tuple(kernels)

  def detect(
    self, query_images: Num[Array, "b m l l 3"], kernels: tuple[Kernels, ...]
  ) -> tuple[Float[Array, "b m n h w"], ...]:
    """Computes the heat-maps of every group.

    Args:
      query_images: Query images, RGB, 0..255.
      kernels: The kernels that `encode_support` returned.

    Raises:
      ValueError: The images have another shape, or another number of episodes.
    """
    _check("query", self.image_size, query_images)
    episodes = {group.taps.shape[0] for group in kernels}
    if episodes != {query_images.shape[0]}:
      raise ValueError(
        f"kernels: got {episodes} episodes, expected {query_images.shape[0]}"
      )
    features = self._encode(normalize_for(self.config, query_images), train=False)
    sizes = len(self.config.kernel_sizes)
    per_stride = zip(*(kernels[i::sizes] for i in range(sizes)), strict=True)
    return self._detect(features, tuple(per_stride), lambda stride: lambda types: types)

  def _encode(self, images: Array, train: bool) -> tuple[Array, ...]:
    """Encodes [b t L L 3] as one batch; returns one [b t h w c] per stride.

    Raises:
      ValueError: The encoder's maps do not have the configured strides.
    """
    train = train and self.config.batch_norm == "running"
    features: Any = self.encoder(images.reshape(-1, *images.shape[2:]), train=train)
    sides = [self.image_size // stride for stride in self.config.strides]
    if [x.shape[1:3] for x in features] != [(side, side) for side in sides]:
      raise ValueError(
        f"encoder: got maps {[x.shape for x in features]}, expected the sides {sides} "
        f"for model.strides = {self.config.strides}"
      )
    return tuple(x.reshape(*images.shape[:2], *x.shape[1:]) for x in features)

  def _prototypes(
    self, features: tuple[Array, ...], keypoints: Array, visible: Array
  ) -> tuple[Array, ...]:
    """Returns a prototype of every type, [b n c] per stride."""
    # Invisible keypoints may be NaN, which would survive a mask of 0.
    keypoints = jnp.where(visible[..., None], keypoints, 0.0)
    pool = functools.partial(
      pool_features,
      image_size=self.image_size,
      sigma=self.config.pool_sigma,
      truncate_center=self.config.truncate_pooling_center,
    )
    return tuple(masked_mean(pool(maps, keypoints), visible) for maps in features)

  def _generator(
    self, stride: int, deferred: bool = True
  ) -> Callable[[Array], tuple[Kernels, ...]]:
    """Returns the kernel generator of a stride, fit for JAX's loops."""
    generator = self.kernel_generator[str(stride)]
    if self.is_initializing():
      return functools.partial(generator, deferred=deferred)
    unbound, variables = generator.unbind()
    return functools.partial(unbound.apply, variables, deferred=deferred)  # pyright: ignore

  def _detect(
    self,
    features: tuple[Array, ...],
    types: tuple[Any, ...],
    generator: Callable[[int], Callable[[Any], tuple[Kernels, ...]]],
  ) -> tuple[Array, ...]:
    """Computes the heat-maps of the types of every stride.

    Args:
      features: Query maps of every stride.
      types: Input of `generator(stride)` for every stride.
      generator: Function from a stride to a function that returns kernels of types.
    """
    config = self.config
    scales = _per_stride(config.query_upsampling, config.strides)
    heatmaps = []
    for stride, maps, given, scale in zip(config.strides, features, types, scales):
      maps = resize_bilinear(maps, int(maps.shape[2] * scale), axes=(2, 3))
      generate = generator(stride)
      if config.head == "mds":
        (prototypes,) = generate(given)
        modulate = self.modulator[str(stride)]
        found = (modulate(maps, prototypes.taps[:, :, 0, 0]),)
      else:
        correlate = functools.partial(self._correlate, maps, generate)
        per_tap = maps.shape[0] * max(maps.shape[-1], math.prod(maps.shape[1:-1]))
        numbers = max(config.kernel_sizes) ** 2 * per_tap
        found = map_in_chunks(correlate, given, numbers=numbers, axis=2)
      for size, heatmap in zip(config.kernel_sizes, found):
        upsample = self.upsampler[f"{stride}_{size}"]
        heatmaps.append(upsample(heatmap) * config.temperature)
    return tuple(heatmaps)

  def _correlate(
    self, maps: Array, generate: Callable[[Any], tuple[Kernels, ...]], types: Any
  ) -> tuple[Array, ...]:
    return tuple(
      detect_keypoints(
        maps,
        kernels,
        similarity=self.config.similarity,
        plain_scale=self.config.plain_scale,
        dtype=jnp.dtype(self.config.compute_dtype),
      )
      for kernels in generate(types)
    )


def init_variables(detector: FewShotDetector, seed: int) -> dict[str, Any]:
  """Returns the initial variables of a detector: {"params", "batch_stats"}."""
  side = detector.image_size
  if type(detector) is FewShotDetector and detector.own_encoder is None:
    init = keeping.kept(
      ("init of detector", detector.config, side),
      lambda: _initializer(FewShotDetector(copy.deepcopy(detector.config), side)),
    )
  else:
    init = _initializer(detector)
  with convolution.plain():
    return {"batch_stats": {}, **init(jax.random.key(seed), _blank_batch(side))}


def variable_shapes(detector: FewShotDetector) -> dict[str, Any]:
  """Returns the shapes and types of what `init_variables` draws."""
  init = functools.partial(detector.init, train=False)
  batch = _blank_batch(detector.image_size)
  with convolution.plain(), layers.undrawn():
    return {"batch_stats": {}, **jax.eval_shape(init, jax.random.key(0), batch)}


def _blank_batch(side: int) -> EpisodeBatch:
  """Returns an episode of one keypoint, with images of this side."""
  views = Views(
    images=np.zeros((1, 1, side, side, 3), np.float32),
    keypoints=np.zeros((1, 1, 1, 2), np.float32),
    visible=np.ones((1, 1, 1), bool),
    to_original=np.zeros((1, 1, 2, 3), np.float32),
    box=np.zeros((1, 1, 4), np.float32),
    image_size=np.zeros((1, 1, 2), np.float32),
    instance=np.zeros((1, 1), np.int32),
  )
  return EpisodeBatch(
    support=views,
    query=views,
    keypoint_ids=np.zeros((1, 1), np.int32),
    is_auxiliary=np.zeros((1, 1), bool),
    episode_index=np.zeros(1, np.int32),
  )


def _initializer(detector: FewShotDetector) -> Callable[..., Any]:
  return jax.jit(functools.partial(detector.init, train=False))


def fuse_heatmaps(
  heatmaps: tuple[Float[Array, "b m n h w"], ...],
) -> Float[Array, "b m n h w"]:
  """Averages over the groups, at the largest resolution among them.

  Source: docs/algorithm.md#decoding.
  """
  side = max(maps.shape[-1] for maps in heatmaps)
  maps = [resize_bilinear(maps, side, axes=(-2, -1)) for maps in heatmaps]
  return jnp.stack(maps).mean(0)


def _per_stride(
  factors: tuple[float, ...], strides: tuple[int, ...]
) -> tuple[float, ...]:
  if len(factors) not in (1, len(strides)):
    raise ValueError(f"got factors {factors} for strides {strides}, expected as many")
  return factors if len(factors) == len(strides) else factors * len(strides)


def _check(
  name: str, side: int, images: Any, keypoints: Any = None, visible: Any = None
) -> None:
  if images.ndim != 5 or images.shape[2:] != (side, side, 3):
    raise ValueError(
      f"{name} images: got shape {images.shape}, "
      f"expected [episodes, images, {side}, {side}, 3]"
    )
  if keypoints is None:
    return
  if keypoints.shape != (*images.shape[:2], *keypoints.shape[2:3], 2):
    raise ValueError(
      f"{name} keypoints: got shape {keypoints.shape}, "
      f"expected [{images.shape[0]}, {images.shape[1]}, types, 2]"
    )
  if visible.shape != keypoints.shape[:-1]:
    raise ValueError(
      f"{name} visible: got shape {visible.shape}, expected {keypoints.shape[:-1]}"
    )
