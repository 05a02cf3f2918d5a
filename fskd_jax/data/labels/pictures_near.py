"""Finds the pictures of labels that count from the bottom or in shares of the size.

Readers of such formats need them before there are coordinates in pixels.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from fskd_jax.data import images as image_module
from fskd_jax.data.labels import paths
from fskd_jax.messages import join_first


class Picture(NamedTuple):
  """A picture.

  Attributes:
    name: The path from the folder of the images, with "/" between folders.
    size: (width, height) in stored pixels.
  """

  name: str
  size: tuple[int, int]


def find(
  names: Sequence[str], labels: pathlib.Path, images: pathlib.Path | None = None
) -> dict[str, Picture]:
  """Returns the pictures that are there, by their names in the labels.

  A name may lack the suffix of the file, or have another one.

  Args:
    names: The names in the labels.
    labels: The file or folder of the labels.
    images: The folder of the images. If it is not given, they are looked for in the
      folder of the labels and in the folder images/ next to that.

  Raises:
    FileNotFoundError: None of the pictures is there.
    ValueError: A name may be two files, or a file is no picture.
  """
  beside = labels if labels.is_dir() else labels.parent
  for root in [images] if images else [beside, beside.absolute().parent / "images"]:
    files = _files(root) if root.is_dir() else []
    whole = paths.match(names, files).files
    stems = {_stem(file): file for file in reversed(files)}
    bare = paths.match([_stem(name) for name in names], stems).files
    chosen = [file or (stem and stems[stem]) for file, stem in zip(whole, bare)]
    found = {name: file for name, file in zip(names, chosen) if file}
    if found:
      return {name: _picture(root, file) for name, file in found.items()}
  raise FileNotFoundError(
    f"{labels}: its {len(names)} images are not in {images or beside}: "
    f"{join_first(map(repr, names))}; name their folder with --images"
  )


def _files(root: pathlib.Path) -> list[str]:
  return [file.relative_to(root).as_posix() for file in image_module.below(root)]


def _stem(name: str) -> str:
  start, dot, suffix = name.rpartition(".")
  return start if f"{dot}{suffix}".lower() in image_module.SUFFIXES else name


def _picture(root: pathlib.Path, file: str) -> Picture:
  with image_module.opened(root / file, str(root / file)) as image:
    return Picture(file, image_module.shown_size(image))
