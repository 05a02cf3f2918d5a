"""Checks what a training is about to learn wrong from sound files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from fskd_jax.config import DataConfig
from fskd_jax.data import images, sides
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.feed import Feed
from fskd_jax.messages import join_first

_MOST_IMAGES = 2000
"""Number of images up to which each is read; the doctor reads all of any number."""


def doubts(feed: Feed) -> Iterator[str]:
  """Yields a sentence for each doubt about a training.

  Args:
    feed: The opened data set, or mixture.
  """
  for one in [source.feed for source in feed.sources.values()] or [feed]:
    yield from of_sides(one.dataset, one.cfg)
    yield from of_images(one.dataset, one.splits._asdict())


def of_sides(dataset: KeypointDataset, cfg: DataConfig) -> Iterator[str]:
  """Yields a sentence if mirrored images would teach the wrong side."""
  if cfg.flip_probability == 0 or cfg.flip_pairs:
    return
  found = sides.find(dataset.keypoint_names)
  lone = [*found.alone, *(" = ".join(pair) for pair in found.doubtful)]
  if lone:
    yield (
      f"{len(lone)} keypoint names of {dataset.name} seem to be of one side, and a "
      f"mirrored image exchanges them with no other: {join_first(lone, ', ')}. Name "
      "the pairs (--config.data.flip_pairs) or mirror no image "
      "(--config.data.flip_probability=0)"
    )


def of_images(
  dataset: KeypointDataset, splits: Mapping[str, Sequence[Instance]]
) -> Iterator[str]:
  """Yields sentences on images that are in two splits, and on turned squares.

  Nothing is read of a data set of more than `_MOST_IMAGES` images.

  Args:
    dataset: The data set.
    splits: The instances of each split.
  """
  # Of one species, "seen" images are training images.
  order = sorted(splits, key=lambda name: name == "train")
  of_image = {i.image: name for name in order for i in splits[name]}
  if len(of_image) > _MOST_IMAGES:
    return
  first: dict[bytes, int] = {}
  shared, turned = [], []
  for number in sorted(of_image):
    name = dataset.image_names[number]
    try:
      data = dataset.read_image(number)
      with images.opened(data, name) as image:
        if images.is_turned(image) and image.width == image.height:
          turned.append(name)
    except (ValueError, OSError):
      continue  # told when it is needed
    other = first.setdefault(hashlib.sha256(data).digest(), number)
    if of_image[other] != of_image[number]:
      shared.append(
        f"{dataset.image_names[other]} ({of_image[other]}) = {name} "
        f"({of_image[number]})"
      )
  if shared:
    yield (
      f"{len(shared)} images of {dataset.name} are in two splits, so that the detector "
      f"is tested on what it was trained on: {join_first(shared)}. Remove one of each"
    )
  if turned:
    yield (
      f"{len(turned)} images of {dataset.name} are squares that EXIF data turns; fskd "
      f"data doctor tells what to do: {join_first(turned, ', ')}"
    )
