"""Reads a folder of photographs without keypoints, for self-supervised episodes."""

import os
import pathlib

import numpy as np

from fskd_jax.data import images
from fskd_jax.data.annotations import Instance, KeypointDataset

SPECIES = "photograph"
"""The one species of the data set."""


def read_photographs(folder: str | os.PathLike) -> KeypointDataset:
  """Reads the images in a folder and its sub-folders, each as one object.

  The box of the object is the whole image, and it has no keypoints.

  Raises:
    FileNotFoundError: There is no such folder.
    ValueError: It holds no image, or a file that is none.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f"there is no folder {folder}")
  paths = images.below(folder)
  if not paths:
    raise ValueError(
      f"{folder} holds no image; suffixes that are read: {sorted(images.SUFFIXES)}"
    )
  instances = []
  for number, path in enumerate(paths):
    with images.opened(path, str(path)) as image:
      size = images.shown_size(image)
    instances.append(
      Instance(
        instance_id=number,
        image=number,
        image_size=size,
        species=SPECIES,
        box=(0.0, 0.0, float(size[0]), float(size[1])),
        keypoints=np.zeros((0, 2), np.float32),
        visible=np.zeros(0, bool),
      )
    )
  return KeypointDataset(
    name=folder.resolve().name,
    keypoint_names=(),
    skeleton=(),
    species=(SPECIES,),
    instances=tuple(instances),
    image_names=tuple(path.relative_to(folder).as_posix() for path in paths),
    read_image=lambda number: paths[number].read_bytes(),
  )
