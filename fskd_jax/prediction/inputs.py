"""Collects query files and annotated support images."""

import glob
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fskd_jax.data import images
from fskd_jax.data.labels.plain_json import Marked
from fskd_jax.messages import printable, shown
from fskd_jax.prediction import keypoint_files, photographs
from fskd_jax.prediction.files import TABLE
from fskd_jax.prediction.photographs import Decoded

VIDEO_SUFFIXES = ".mp4 .mov .avi .mkv .webm .m4v".split()
"""Suffixes of the files that are read as videos."""


class Query(NamedTuple):
  """An image or video in which to find keypoints.

  Attributes:
    path: Path of the file.
    name: The part of the path below the folder that all queries share, with "/".
  """

  path: pathlib.Path
  name: str

  @property
  def is_video(self) -> bool:
    """Whether the suffix is that of a video."""
    return is_video(self.path)


class Annotated(NamedTuple):
  """One object marked on a support image.

  Attributes:
    path: Path of the image.
    image: The image, decoded once for all objects marked on it.
    marked: Keypoints and box of the object.
  """

  path: pathlib.Path
  image: Decoded
  marked: Marked


def is_video(path: pathlib.Path) -> bool:
  """Whether a path is that of a video, going by its name."""
  return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def gather_queries(items: Iterable[str | os.PathLike]) -> list[Query]:
  """Returns the files that arguments name, each once.

  Args:
    items: Files, folders of images and videos, or patterns, as for `find_queries`.

  Raises:
    FileNotFoundError: A file does not exist.
    ValueError: There are no items, or a folder holds no images and videos.
  """
  if isinstance(items, (str, os.PathLike)):
    raise ValueError(f"queries: got {shown(items)}, expected a list of paths")
  items = [*items]
  if not items:
    raise ValueError("queries: got none")
  found = {os.path.abspath(path): path for item in items for path in find_queries(item)}
  root = os.path.commonpath([os.path.dirname(path) for path in found])
  return [
    Query(path, printable(pathlib.Path(whole).relative_to(root).as_posix()))
    for whole, path in found.items()
  ]


def find_queries(item: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the files that an argument names, sorted.

  Args:
    item: A file, a folder of images and videos with the folders in it, or a pattern
      such as "cats/*.jpg". In a folder, the results of earlier predictions are no
      queries.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The folder holds no images and videos.
  """
  path = pathlib.Path(item)
  if path.is_dir():
    found = images.below(path, lambda p: images.is_image(p) or is_video(p))
    results = {table.parent for table in path.rglob(TABLE)}
    found = [p for p in found if not results & {*p.parents}]
    if not found:
      suffixes = " ".join((*sorted(images.SUFFIXES), *VIDEO_SUFFIXES))
      raise ValueError(f"folder {item} has no images or videos ({suffixes})")
    return found
  if path.exists():
    return [path]
  found = [pathlib.Path(p) for p in sorted(glob.glob(os.fspath(item), recursive=True))]
  found = [p for p in found if p.is_file()]
  if not found:
    raise FileNotFoundError(f"there is no file {item}")
  return found


def read_supports(
  images: Sequence[str | os.PathLike], files: Sequence[str | os.PathLike]
) -> list[Annotated]:
  """Reads support images, each once, with the objects marked on them.

  Args:
    images: Paths of the images.
    files: Paths of the keypoint files, see `keypoint_files.read`: as many as images, or
      one for all.

  Raises:
    FileNotFoundError: A file does not exist.
    ValueError: A file is wrong, or was marked on an image of another size.
  """
  shared = len(files) == 1 < len(images)
  if shared:
    files = [*files] * len(images)
  if len(files) != len(images):
    raise ValueError(
      f"--keypoints: got {len(files)} files for {len(images)} support images, expected "
      "as many, or one for all"
    )
  return [
    annotated
    for image, file in zip(images, files)
    for annotated in _read_support(pathlib.Path(image), pathlib.Path(file), shared)
  ]


def _read_support(
  path: pathlib.Path, file: pathlib.Path, shared: bool
) -> list[Annotated]:
  objects = keypoint_files.read(file, path, shared=shared)
  image = Decoded(str(path), photographs.read(path, str(path)))
  size = image.pixels.shape[1::-1]
  for marked in objects:
    if marked.size not in (None, size):
      raise ValueError(
        f"{file} was marked on {marked.size[0]} x {marked.size[1]} pixels, but {path} "
        f"has {size[0]} x {size[1]} (turned as its EXIF data says)"
      )
  return [Annotated(path, image, marked) for marked in objects]


def skeleton(
  supports: Iterable[Annotated], names: Sequence[str]
) -> list[tuple[int, int]]:
  """Returns the bones of all skeletons marked, as pairs of indices into `names`."""
  pairs = dict.fromkeys(pair for x in supports for pair in x.marked.skeleton)
  return [
    (names.index(a), names.index(b)) for a, b in pairs if a in names and b in names
  ]
