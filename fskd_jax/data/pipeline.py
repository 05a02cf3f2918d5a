"""tf.data executor: reads, decodes and warps images on the host.

It serves data sets of any size, in parallel and in order, with uint8 images.
"""

import collections
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf

from fskd_jax import geometry
from fskd_jax.config import crop_size
from fskd_jax.data import images
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.plans import Sampler, plan_batch
from fskd_jax.episode import BORDER_COLOR, EpisodeBatch, Views


def episode_batches(
  dataset: KeypointDataset,
  sampler: Sampler,
  index_batches: Iterable[Sequence[int]],
  batch_size: int,
) -> Generator[EpisodeBatch, None, None]:
  """Yields batches of NumPy arrays with uint8 images [b t h w 3].

  Args:
    dataset: The images that the sampler's plans refer to.
    sampler: The sampler of the episodes; its configuration has the size (h, w).
    index_batches: The episode indices of this host, see `plans`; iterated in another
      thread.
    batch_size: The number of episodes of this host; shorter batches are padded.

  Raises:
    ValueError, FileNotFoundError: An image is broken or missing, or an episode cannot
      be drawn; the message names it.
  """
  under_way: collections.deque[Sequence[int]] = collections.deque()
  example = plan_batch(sampler, [0], batch_size)
  # TensorFlow crashes on arrays without elements: an empty support bypasses it.
  left_out = {}
  if not example.support.images.size:
    nothing = np.zeros((batch_size, 0, *crop_size(sampler.cfg), 3), np.uint8)
    left_out = {"support": example.support._replace(images=nothing)}
  indices = _recorded(index_batches, under_way)
  batches = _dataset(dataset, sampler, indices, example, tuple(left_out)).prefetch(2)
  try:
    for batch in batches.as_numpy_iterator():
      under_way.popleft()
      yield cast(EpisodeBatch, batch)._replace(**left_out)
    return
  except tf.errors.OpError as error:
    # The traceback would keep the iterator, whose threads never let Python end.
    failure = error.with_traceback(None)
    failure.__context__ = None
  if under_way:
    _replay(dataset, sampler, under_way[0])
  raise failure


def episode_dataset(
  dataset: KeypointDataset,
  sampler: Sampler,
  index_batches: Iterable[Sequence[int]],
  batch_size: int,
) -> tf.data.Dataset:
  """Returns the batches of `episode_batches` as a `tf.data.Dataset` of tensors.

  Errors are TensorFlow's own and do not name the image.

  Args:
    dataset: The images that the sampler's plans refer to.
    sampler: The sampler of the episodes, with at least one support image each.
    index_batches: The episode indices of each batch; a list, if the result is to be
      iterated more than once.
    batch_size: The number of episodes in a batch; shorter lists are padded.
  """
  return _dataset(dataset, sampler, index_batches, plan_batch(sampler, [0], batch_size))


def _dataset(
  dataset: KeypointDataset,
  sampler: Sampler,
  index_batches: Iterable[Sequence[int]],
  example: EpisodeBatch,
  left_out: Sequence[str] = (),
) -> tf.data.Dataset:
  """Returns batches like the example, but empty in the fields `left_out`."""
  # TensorFlow would take the memory of the accelerators, which belong to JAX.
  tf.config.set_visible_devices([], "GPU")
  size, batch_size = crop_size(sampler.cfg), len(example.episode_index)
  without: Any = dict.fromkeys(left_out, ())

  def plans() -> Iterator[EpisodeBatch]:
    for indices in index_batches:
      yield plan_batch(sampler, indices, batch_size)._replace(**without)

  def load(episode: EpisodeBatch) -> EpisodeBatch:
    return episode._replace(
      **{
        name: views._replace(images=_load_pixels(dataset, views, size))
        for name, views in (("support", episode.support), ("query", episode.query))
        if name not in left_out
      }
    )

  signature = tf.nest.map_structure(
    lambda field: tf.TensorSpec(field.shape, field.dtype),
    example._replace(**without),
  )
  return (
    tf.data.Dataset.from_generator(plans, output_signature=signature)
    .unbatch()
    .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    .batch(batch_size, drop_remainder=True)
  )


def _recorded(
  index_batches: Iterable[Sequence[int]], under_way: collections.deque[Sequence[int]]
) -> Iterator[Sequence[int]]:
  """Yields the lists of indices, each after it was appended to `under_way`."""
  for indices in index_batches:
    under_way.append(indices)
    yield indices


def _replay(dataset: KeypointDataset, sampler: Sampler, indices: Sequence[int]) -> None:
  """Repeats a failed batch in Python, to raise an error that names the cause."""
  batch = plan_batch(sampler, indices, max(len(indices), 1))
  for number in np.unique([*batch.support.images.flat, *batch.query.images.flat]):
    images.decode(dataset.read_image(number), dataset.image_names[number])


def _load_pixels(
  dataset: KeypointDataset, views: Views, size: tuple[int, int]
) -> tf.Tensor:
  """Reads, decodes and warps the images of an episode: uint8 [t h w 3]."""

  def read(
    numbers: np.ndarray, to_original: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = [images.upright_jpeg(dataset.read_image(n)) for n in numbers.tolist()]
    level = geometry.reduction_level(to_original)
    matrix = geometry.to_level(to_original, level)
    return np.array(data, object), level, matrix.astype(np.float32)

  num_images = views.images.shape[0]
  data, level, matrix = tf.numpy_function(
    read, [views.images, views.to_original], [tf.string, tf.int32, tf.float32]
  )
  data.set_shape([num_images])
  level.set_shape([num_images])
  matrix.set_shape([num_images, 2, 3])
  return tf.map_fn(
    lambda image: _warp(_decode(image[0], image[1]), image[2], size),
    (data, level, matrix),
    fn_output_signature=tf.TensorSpec([*size, 3], tf.uint8),
  )


def _decode(data: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
  """Decodes as `images.decode` does, without Python for JPEG data."""

  def jpeg(ratio: int) -> tf.Tensor:
    # PIL, and so the resident executor, uses the exact transform.
    return tf.io.decode_jpeg(
      data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
    )

  def other() -> tf.Tensor:
    def decode(data: bytes, level: np.ndarray) -> np.ndarray:
      return images.decode(data, "", int(level))

    return tf.numpy_function(decode, [data, level], tf.uint8)

  image = tf.cond(
    tf.io.is_jpeg(data),
    lambda: tf.switch_case(level, [lambda r=r: jpeg(r) for r in (1, 2, 4, 8)]),
    other,
  )
  return tf.ensure_shape(image, [None, None, 3])


def _warp(image: tf.Tensor, matrix: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """Samples a uint8 image bilinearly, blending into the border colour outside.

  Args:
    image: uint8 [h w 3].
    matrix: [2 3], from pixels of the result to pixels of the image.
    size: (height, width) of the result.

  Returns:
    uint8 [height width 3].
  """
  # Only the part that is sampled is converted to floats: photographs can be large.
  y, x = size[0] - 1.0, size[1] - 1.0
  ends = tf.constant([[0, x, 0, x], [0, 0, y, y]])
  corners = matrix[:, :2] @ ends + matrix[:, 2:]
  height, width, _ = tf.unstack(tf.shape(image))
  last = tf.cast(tf.stack([width, height]) - 1, tf.float32)
  low = tf.clip_by_value(tf.floor(tf.reduce_min(corners, 1)) - 1, 0.0, last)
  high = tf.clip_by_value(tf.floor(tf.reduce_max(corners, 1)) + 2, 0.0, last)
  (left, top), (right, bottom) = (tf.unstack(tf.cast(v, tf.int32)) for v in (low, high))
  part = tf.cast(image[top : bottom + 1, left : right + 1], tf.float32)

  matrix = tf.concat([matrix[:, :2], matrix[:, 2:] - low[:, None]], axis=1)
  border = tf.constant(BORDER_COLOR, tf.float32)
  warped = tf.raw_ops.ImageProjectiveTransformV3(
    images=(part - border)[None],
    transforms=tf.concat([tf.reshape(matrix, [1, 6]), tf.zeros([1, 2])], axis=1),
    output_shape=size,
    fill_value=0.0,
    interpolation="BILINEAR",
    fill_mode="CONSTANT",
  )
  return tf.saturate_cast(tf.round(warped[0] + border), tf.uint8)
