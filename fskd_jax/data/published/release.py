"""Common representation of all distributions of a published data set."""

import pathlib
from typing import NamedTuple

SPLITS = ("train", "validation", "unseen")


class Animal(NamedTuple):
  """One annotated animal.

  Attributes:
    file_name: The file name of its image, below the image folder.
    species: The name of its species.
    box: (x, y, width, height) in pixels.
    keypoints: x, y and COCO's visibility of every type of the data set, flattened.
  """

  file_name: str
  species: str
  box: list[float]
  keypoints: list[float]


class Release(NamedTuple):
  """The content of a data set in a folder.

  Attributes:
    image_folder: The folder of the images.
    sizes: (width, height) by file name; None if the annotations have no sizes.
    animals: The animals, in the order of the files.
    parents: The parent group of each species, in the order of the class numbers.
    splits: The species of "train", "validation" and "unseen".
  """

  image_folder: pathlib.Path
  sizes: dict[str, tuple[int, int] | None]
  animals: list[Animal]
  parents: dict[str, str]
  splits: dict[str, tuple[str, ...]]
