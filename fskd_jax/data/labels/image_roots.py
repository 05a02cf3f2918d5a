"""Finds the folder of the images of labels that name no sizes, where none is told."""

import os
import pathlib
from collections.abc import Sequence

from fskd_jax.data import images
from fskd_jax.data.labels.schema import Labels

_ABOVE = 3  # folders above the labels that may be the root of their paths


def near(labels: Labels, sources: Sequence[pathlib.Path]) -> pathlib.Path | None:
  """Returns the folder from which most names of images are paths of files.

  It is that of the labels, the folder images/ in it or beside it, or one of the three
  above. If no name is a path from any of them, it is the folder of the labels or
  images/, whichever holds an image; None if neither does.

  Args:
    labels: The labels.
    sources: Their files and folders.
  """
  whole = [path.absolute() for path in sources]
  beside = [path if path.is_dir() else path.parent for path in whole]
  base = pathlib.Path(os.path.commonpath(beside))
  below = (base, base / "images", base.parent / "images")
  roots = [root for root in (*below, *base.parents[:_ABOVE]) if root.is_dir()]
  return _fullest(labels, roots) or next(
    (r for r in roots if r in below and _has_images(r)), None
  )


def of_file(labels: Labels, path: pathlib.Path) -> pathlib.Path | None:
  """Returns the folder from which most images of one of several files are named.

  Beside the folders of `near`, it may be one below them whose name occurs in that of
  the file: images/train of train.json. None if no image is named from any of them.
  """
  base = path.absolute().parent
  roots = [base, base / "images", base.parent / "images", *base.parents[:_ABOVE]]
  roots = [root for root in roots if root.is_dir()]
  inner = [
    folder
    for root in roots
    for folder in sorted(root.iterdir())
    if folder.is_dir() and folder.name in path.stem
  ]
  return _fullest(labels, [*inner, *roots])


def _fullest(labels: Labels, roots: Sequence[pathlib.Path]) -> pathlib.Path | None:
  """Returns the first folder that has the most of the images, None if none has one."""
  names = [image.name for image in labels.images if isinstance(image.name, str)]
  found = [sum((root / name).is_file() for name in names) for root in roots]
  return roots[found.index(max(found))] if any(found) else None


def _has_images(folder: pathlib.Path) -> bool:
  return any(map(images.is_image, folder.rglob("*")))
