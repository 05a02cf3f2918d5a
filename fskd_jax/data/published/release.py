"""Common form that every distribution of a published data set is read into."""

import pathlib
from typing import NamedTuple

SPLITS = ("train", "validation", "unseen")


class Animal(NamedTuple):
  """One annotated animal.

  Attributes:
    file_name: of its image, below the image folder.
    species: its name.
    box: x, y, width, height, pixels.
    keypoints: x, y, visibility of every type of the data set, flat; COCO's flags.
  """

  file_name: str
  species: str
  box: list[float]
  keypoints: list[float]


class Release(NamedTuple):
  """A data set as it was found.

  Attributes:
    image_folder: where the images are.
    sizes: file name -> (width, height) by the annotations; None: they do not tell.
    animals: in the order of the files.
    parents: species -> what it is a kind of, in the order of the class numbers.
    splits: the species of "train", "validation" and "unseen".
  """

  image_folder: pathlib.Path
  sizes: dict[str, tuple[int, int] | None]
  animals: list[Animal]
  parents: dict[str, str]
  splits: dict[str, tuple[str, ...]]
