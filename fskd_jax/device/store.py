"""Images in device memory, and the warp that cuts the crops of episodes from them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, Int64, UInt8
from PIL import Image

from fskd_jax import geometry
from fskd_jax.episode import BORDER_COLOR, EpisodeBatch

NUM_LEVELS = 4
"""Number of stored sizes of an image: whole, and halved 1, 2 and 3 times."""


class ImageStore(NamedTuple):
  """Images and their reductions in one flat buffer; a pytree, so pass it to jit.

  Closing over it instead would compile it in as a constant.

  Attributes:
    pixels: uint8 [p 3], RGB, row by row, image after image.
    offsets: int32 [i levels], the first pixel of the image reduced by 2**level.
    sizes: int32 [i levels 2], its (width, height); 0 for images that were not loaded,
      whose crops show nothing but border.
  """

  pixels: UInt8[Array | np.ndarray, "p 3"]
  offsets: Int32[Array | np.ndarray, "i levels"]
  sizes: Int32[Array | np.ndarray, "i levels 2"]


def empty_store(sizes: Int64[np.ndarray, "i levels 2"]) -> ImageStore:
  """Returns a store in host memory without pixels yet, see `fill`.

  Args:
    sizes: The (width, height) of every image and reduction; 0 for images left out.
  """
  areas = sizes.prod(axis=-1)
  starts = (areas.cumsum() - areas.ravel()).reshape(areas.shape)
  return ImageStore(
    pixels=np.empty((areas.sum(), 3), np.uint8),
    offsets=starts.astype(np.int32),
    sizes=sizes.astype(np.int32),
  )


def fill(
  store: ImageStore, number: int, level: int, pixels: UInt8[np.ndarray, "h w 3"]
) -> None:
  """Writes an image or a reduction of it into its place in a store.

  Raises:
    ValueError: It is not as large as its place.
  """
  size, expected = pixels.shape[1::-1], tuple(map(int, store.sizes[number, level]))
  if size != expected:
    raise ValueError(f"image {number} is {size} pixels large, expected {expected}")
  flat, start = pixels.reshape(-1, 3), int(store.offsets[number, level])
  np.asarray(store.pixels)[start : start + len(flat)] = flat


def materialize(
  store: ImageStore, batch: EpisodeBatch, size: tuple[int, int]
) -> EpisodeBatch:
  """Replaces image numbers by pixels, float32 [b t h w 3] in 0..255.

  The function is pure and jittable; `size`, the (height, width) of the sampler's
  crops, is static. Images are sampled bilinearly at their `geometry.reduction_level`
  and blend into `BORDER_COLOR` outside.
  """
  support, query = (
    views._replace(images=_warp(store, views.images, views.to_original, size))
    for views in (batch.support, batch.query)
  )
  return batch._replace(support=support, query=query)


def crop(
  image: UInt8[np.ndarray, "h w 3"],
  to_original: Float32[np.ndarray, "2 3"],
  size: tuple[int, int],
) -> UInt8[np.ndarray, "height width 3"]:
  """Cuts one crop from one image, as training and evaluation do.

  Args:
    image: RGB.
    to_original: Pixels of the crop to pixels of the image.
    size: (height, width) of the crop.
  """
  pyramid = [
    np.asarray(Image.fromarray(image).reduce(2**level)) for level in range(NUM_LEVELS)
  ]
  sizes = np.array([[level.shape[1::-1] for level in pyramid]])
  store = empty_store(sizes)
  for level, pixels in enumerate(pyramid):
    fill(store, 0, level, pixels)
  number, matrix = np.zeros((1, 1), np.int32), np.asarray(to_original, np.float32)
  warped = _warp(store, number, matrix[None, None], size)
  return np.asarray(warped)[0, 0].round().astype(np.uint8)


def _warp(
  store: ImageStore,
  images: Int32[Array | np.ndarray, "b t"],
  to_original: Float32[Array | np.ndarray, "b t 2 3"],
  size: tuple[int, int],
) -> Float[Array, "b t h w 3"]:
  level = geometry.reduction_level(to_original, NUM_LEVELS - 1)
  matrix = geometry.to_level(to_original, level)[..., None, None]
  offset = store.offsets[images, level][..., None, None]
  source_size = store.sizes[images, level][..., None, None]
  columns = jnp.arange(size[1], dtype=jnp.float32)[None, None, None, :]
  rows = jnp.arange(size[0], dtype=jnp.float32)[None, None, :, None]
  x, y = (
    matrix[:, :, i, 0] * columns + matrix[:, :, i, 1] * rows + matrix[:, :, i, 2]
    for i in (0, 1)
  )
  left, top = jnp.floor(x), jnp.floor(y)
  border = jnp.array(BORDER_COLOR, jnp.float32)[None, None, None, None]
  source = jnp.asarray(store.pixels)
  warped = jnp.zeros((*x.shape, 3), jnp.float32)
  for tap_x, tap_y in (
    (left, top),
    (left + 1, top),
    (left, top + 1),
    (left + 1, top + 1),
  ):
    weight = (1 - abs(x - tap_x)) * (1 - abs(y - tap_y))
    column, row = tap_x.astype(jnp.int32), tap_y.astype(jnp.int32)
    width, height = source_size[:, :, 0], source_size[:, :, 1]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = jnp.where(inside, offset + row * width + column, 0)
    pixels = source.at[place].get(mode="promise_in_bounds")
    color = jnp.where(inside[..., None], pixels.astype(jnp.float32), border)
    warped += weight[..., None] * color
  return warped


def with_pixels(
  batch: EpisodeBatch, store: ImageStore | None, size: tuple[int, int]
) -> EpisodeBatch:
  """Returns the batch with pixels from the store; without a store, unchanged."""
  return batch if store is None else materialize(store, batch, size)
