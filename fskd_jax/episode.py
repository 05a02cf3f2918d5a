"""`EpisodeBatch`: the one contract from the input pipeline to the device.

The sampler makes a *plan*: one episode with image numbers in place of pixels.
Stacking plans adds the leading axis b, and an executor (tf.data or resident) replaces
the numbers by pixels. Nothing else changes on the way.
"""

from typing import Any, NamedTuple

import numpy as np

PADDING = -1
"""Value of `episode_index` and `keypoint_ids` in padding."""


class Views(NamedTuple):
  """Annotated crops of images: the support or the query part of episodes.

  Axes: b episodes (absent in a plan), t images (k support or m query), n
  keypoint types (padded), L the side of the network's input in pixels.

  Attributes:
    images: int32 [b t] in a plan, the image's number in its data set. After an
      executor, uint8 or float32 [b t L L 3], RGB pixels in 0..255. In an evaluation
      that encodes every crop once, a tuple of maps [b t h w c].
    keypoints: float32 [b t n 2], (x, y) in pixels of the crop. Always finite and
      inside the crop (0..L-1); meaningless where not visible.
    visible: bool [b t n], annotated and inside the crop.
    to_original: float32 [b t 2 3], the matrix from crop pixels to pixels of the
      original image: a similarity (rotation, uniform scale, perhaps a mirror), but
      where training tilts its crops (`data.tilt_degrees`).
    box: float32 [b t 4], the instance's box (x, y, w, h), clipped to the image,
      in pixels of the original image.
    image_size: float32 [b t 2], (width, height) of the original image.
    instance: int64 [b t], the id of the annotated instance in its data set; for the
      host only.
  """

  images: Any
  keypoints: Any
  visible: Any
  to_original: Any
  box: Any
  image_size: Any
  instance: Any

  def annotations(self) -> tuple[Any, Any, Any]:
    """Returns images, keypoints and visible: what a detector needs of a support."""
    return self.images, self.keypoints, self.visible


class EpisodeBatch(NamedTuple):
  """A batch of episodes: annotated support images, and annotated query images.

  Attributes:
    support: The k support images of each episode.
    query: The m query images of each episode, none of them in its support.
    keypoint_ids: int32 [b n], the number of each keypoint type in the data set's
      vocabulary. Auxiliary types have the numbers after the vocabulary, random points
      of a self-supervised episode those after them; empty slots have PADDING. Equal
      ids in two episodes mean the same type (MFCL).
    is_auxiliary: bool [b n], whether the type is interpolated (in training only).
    episode_index: int32 [b], the number of the episode in its stream, which seeds all
      randomness on the device. PADDING marks a padded episode, whose masks are all
      False.
  """

  support: Views
  query: Views
  keypoint_ids: Any
  is_auxiliary: Any
  episode_index: Any


def valid_queries(batch: EpisodeBatch) -> Any:
  """Returns bool [b m n]: visible in the query and in at least one support image.

  Source: docs/algorithm.md#valid-keypoints.
  """
  return batch.query.visible & batch.support.visible.any(-2)[..., None, :]


def all_views(batch: EpisodeBatch) -> Views:
  """Concatenates support and query along t, support first, as the encoder sees them."""
  axis = batch.keypoint_ids.ndim - 1  # 0 in a plan, 1 in a batch
  return Views(
    *(
      support.__array_namespace__().concat([support, query], axis=axis)
      for support, query in zip(batch.support, batch.query)
    )
  )


def rotate_support(tree: Any, num_images: int) -> Any:
  """Expands each episode so that each of its images serves as support once.

  An episode becomes `num_images` episodes. In the r-th, the images are rolled by r, so
  that with one shot each image is the support of all others.

  Args:
    tree: A pytree of arrays [b t ...], support images first.
    num_images: The number t of images in an episode.

  Returns:
    The same tree with arrays [b*t t ...].
  """
  import jax

  places = np.arange(num_images)
  roles = (places[:, None] + places[None, :]) % num_images
  return jax.tree.map(lambda x: x[:, roles].reshape(-1, num_images, *x.shape[2:]), tree)


def stack(episodes: list[EpisodeBatch], size: int | None = None) -> EpisodeBatch:
  """Stacks single episodes along a new leading axis, padding up to `size`.

  Padding repeats the last episode with its masks cleared: shapes and values stay
  ordinary, and nothing in it is counted.

  Raises:
    ValueError: There is no episode, or there are more than `size`.
  """
  if not episodes or (size is not None and len(episodes) > size):
    raise ValueError(f"cannot stack {len(episodes)} episodes into {size} slots")
  missing = (size or len(episodes)) - len(episodes)
  rows = episodes + [blank(episodes[-1])] * missing
  return EpisodeBatch(
    support=Views(*(np.stack(field) for field in zip(*(r.support for r in rows)))),
    query=Views(*(np.stack(field) for field in zip(*(r.query for r in rows)))),
    keypoint_ids=np.stack([row.keypoint_ids for row in rows]),
    is_auxiliary=np.stack([row.is_auxiliary for row in rows]),
    episode_index=np.stack([row.episode_index for row in rows]),
  )


def blank(episode: EpisodeBatch) -> EpisodeBatch:
  """Returns a padding episode: the same shapes, nothing visible."""
  support, query = (
    views._replace(visible=np.zeros_like(views.visible))
    for views in (episode.support, episode.query)
  )
  return episode._replace(
    support=support,
    query=query,
    keypoint_ids=np.full_like(episode.keypoint_ids, PADDING),
    episode_index=np.full_like(episode.episode_index, PADDING),
  )


BORDER_COLOR = (124, 116, 104)
"""RGB of pixels outside the image. Source: docs/algorithm.md#augmentation."""
