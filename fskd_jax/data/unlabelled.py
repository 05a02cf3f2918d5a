"""Reads a folder of photographs without keypoints, for self-supervised episodes."""

import concurrent.futures
import dataclasses
import logging
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm

from fskd_jax.config import DataConfig, crop_size
from fskd_jax.data import images
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.messages import join_first

_log = logging.getLogger(__name__)

SPECIES = "photograph"
"""The one species of the data set."""

SMALLEST_WINDOW = 0.4
"""Smallest window of an image in an episode, as a fraction of its longer side."""

MOST_PIXELS = 2**27
"""Largest number of pixels of the photographs that are kept in memory; with their
reductions they take half a gigabyte."""


def read_photographs(folder: str | os.PathLike) -> KeypointDataset:
  """Reads the images in a folder and its sub-folders, each as one object.

  The box of the object is the whole image, and it has no keypoints. A warning names the
  files that are no images, and they are left out. Pixels are not decoded.

  Raises:
    FileNotFoundError: There is no such folder.
    ValueError: It holds no image.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f"there is no folder {folder}")
  sizes, broken = {}, []
  found = images.below(folder)
  for path in found:
    try:
      with images.opened(path, str(path)) as image:
        sizes[path] = images.shown_size(image)
    except images.ImageError as error:
      broken.append(str(error))
  if not found:
    raise ValueError(
      f"{folder} holds no image; suffixes that are read: {sorted(images.SUFFIXES)}"
    )
  _tell(folder.name, broken, len(found))
  paths = [*sizes]
  return KeypointDataset(
    name=folder.resolve().name,
    keypoint_names=(),
    skeleton=(),
    species=(SPECIES,),
    instances=tuple(_object(number, sizes[path]) for number, path in enumerate(paths)),
    image_names=tuple(path.relative_to(folder).as_posix() for path in paths),
    read_image=lambda number: paths[number].read_bytes(),
  )


def sized(photographs: KeypointDataset, cfg: DataConfig) -> KeypointDataset:
  """Returns photographs that are no larger, and no more, than episodes need.

  Photographs are reduced when they are read. For the executor "resident", which keeps
  them in memory, there are as many as `MOST_PIXELS` hold, evenly spaced; a warning
  tells the number.

  Args:
    photographs: What `read_photographs` returned.
    cfg: Crops, self-supervision and executor of the source.
  """
  small = _reduced(photographs, _needed_side(cfg))
  if cfg.executor == "resident":
    area = sum(math.prod(instance.image_size) for instance in small.instances)
    most = max(1, len(small.instances) * MOST_PIXELS // area)
    if most < len(small.instances):
      small = thinned(small, most)
      _log.warning(
        "%s: memory is for %d of the %d photographs, evenly spaced",
        small.name, len(small.instances), len(photographs.instances),
      )  # fmt: skip
  return small


def decodable(photographs: KeypointDataset) -> KeypointDataset:
  """Returns the photographs whose pixels can be decoded; a warning names the others.

  Raises:
    ValueError: None can.
  """

  def fault(number: int) -> str:
    name = photographs.image_names[number]
    try:
      images.decode(photographs.read_image(number), name, level=3)
    except images.ImageError as error:
      return str(error)
    return ""

  count = len(photographs.image_names)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    looked_at = pool.map(fault, range(count))
    faults = [
      *tqdm.tqdm(looked_at, f"checking {photographs.name}", count, disable=None)
    ]
  _tell(photographs.name, [*filter(None, faults)], count)
  return part(photographs, [row for row, fault in enumerate(faults) if not fault])


def thinned(dataset: KeypointDataset, most: int) -> KeypointDataset:
  """Returns at most `most` objects of a data set, evenly spaced."""
  step = max(1, math.ceil(len(dataset.instances) / most))
  return part(dataset, range(0, len(dataset.instances), step))


def part(dataset: KeypointDataset, rows: Sequence[int]) -> KeypointDataset:
  """Returns a data set of some objects and their images alone."""
  chosen = [dataset.instances[row] for row in rows]
  numbers = sorted({instance.image for instance in chosen})
  new = {number: i for i, number in enumerate(numbers)}
  return dataclasses.replace(
    dataset,
    instances=tuple(
      dataclasses.replace(instance, image=new[instance.image]) for instance in chosen
    ),
    image_names=tuple(dataset.image_names[number] for number in numbers),
    read_image=lambda number: dataset.read_image(numbers[number]),
  )


def _object(number: int, size: tuple[int, int]) -> Instance:
  return Instance(
    instance_id=number,
    image=number,
    image_size=size,
    species=SPECIES,
    box=(0.0, 0.0, float(size[0]), float(size[1])),
    keypoints=np.zeros((0, 2), np.float32),
    visible=np.zeros(0, bool),
  )


def _needed_side(cfg: DataConfig) -> int:
  """Returns the longer side, pixels, at which the closest view has a pixel for each."""
  own = cfg.self_supervised
  window = SMALLEST_WINDOW if own.region == "image" else 1.0
  closest = cfg.crop_margin * window / max(own.scale_range)
  return math.ceil(max(crop_size(cfg)) / closest)


def _reduced(photographs: KeypointDataset, longest: int) -> KeypointDataset:
  """Returns photographs whose longer side is at most `longest` pixels."""
  sizes = []
  for instance in photographs.instances:
    factor = min(1.0, longest / max(instance.image_size))
    width, height = (max(1, round(factor * side)) for side in instance.image_size)
    sizes.append((width, height))

  def read_image(number: int) -> bytes:
    data, name = photographs.read_image(number), photographs.image_names[number]
    if sizes[number] == photographs.instances[number].image_size:
      return data
    return images.reduced(data, name, sizes[number])

  return dataclasses.replace(
    photographs,
    instances=tuple(_object(number, size) for number, size in enumerate(sizes)),
    read_image=read_image,
  )


def _tell(name: str, faults: Sequence[str], count: int) -> None:
  """Warns of photographs that are left out.

  Raises:
    ValueError: These are all.
  """
  if not faults:
    return
  told = join_first(faults)
  if len(faults) == count:
    raise ValueError(f"{name}: none of the {count} photographs can be read: {told}")
  _log.warning(
    "%s: %d of %d photographs are left out: %s", name, len(faults), count, told
  )
