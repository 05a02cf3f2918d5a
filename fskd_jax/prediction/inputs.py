"""Collects the query images and the marked support images of a command."""

import glob
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fskd_jax.data import coco_file
from fskd_jax.files import read_json
from fskd_jax.messages import first, printable, shown
from fskd_jax.prediction import keypoint_files, photographs
from fskd_jax.prediction.keypoint_files import Marked

IMAGE_SUFFIXES = ".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm".split()
"""What is taken from a folder."""


class Query(NamedTuple):
  """An image or video in which to find keypoints.

  Attributes:
    path: of the file.
    name: the part of it that differs between queries, with "/" between folders.
  """

  path: pathlib.Path
  name: str


def gather_queries(items: Iterable[str]) -> list[Query]:
  """Returns the files that arguments name (`find_queries`), each once.

  Raises:
    FileNotFoundError, ValueError: as of `find_queries`.
  """
  paths = {os.path.abspath(path): path for item in items for path in find_queries(item)}
  root = os.path.commonpath([os.path.dirname(path) for path in paths])
  return [
    Query(path, printable(pathlib.Path(whole).relative_to(root).as_posix()))
    for whole, path in paths.items()
  ]


def find_queries(item: str) -> list[pathlib.Path]:
  """Returns the files that an argument names, in order.

  Args:
    item: a file, a folder of images, or a pattern.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a folder without images.
  """
  path = pathlib.Path(item)
  if path.is_dir():
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
      raise ValueError(f"folder {item} has no images ({' '.join(IMAGE_SUFFIXES)})")
    return found
  if path.exists():
    return [path]
  found = [pathlib.Path(p) for p in sorted(glob.glob(item, recursive=True))]
  found = [p for p in found if p.is_file()]
  if not found:
    raise FileNotFoundError(f"there is no file {item}")
  return found


def read_boxes(
  path: str, queries: Sequence[Query]
) -> dict[pathlib.Path, tuple[float, ...]]:
  """Reads boxes by file name: {"cat.jpg": [x, y, width, height]}.

  Args:
    path: of the JSON file.
    queries: to which the boxes belong, by `Query.name`, by path, or by the file name
      alone.

  Returns:
    Boxes by path of the query.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no such JSON, or a name is that of no query, or of several.
  """
  content = read_json(pathlib.Path(path))
  what = "expected JSON {file name: [x, y, width, height]}"
  if not isinstance(content, dict):
    raise ValueError(f"{path}: {what}, got {shown(content)}")
  boxes = {}
  for name, box in content.items():
    if not (isinstance(box, list) and len(box) == 4 and coco_file.are_finite(box)):
      raise ValueError(f"{path}: {shown(name)} is {shown(box)}, {what}")
    found = [q for q in queries if name in (q.name, str(q.path))]
    found = found or [q for q in queries if q.path.name == name]
    if len(found) != 1:
      names = first(shown(query.name) for query in found or queries)
      raise ValueError(
        f"{path}: {shown(name)} is the name of {len(found)} of the {len(queries)} "
        f"queries; expected one of {names}"
      )
    if found[0].path in boxes:
      raise ValueError(f"{path}: there are two boxes for {shown(found[0].name)}")
    boxes[found[0].path] = tuple(map(float, box))
  return boxes


def read_supports(
  images: Sequence[str], files: Sequence[str]
) -> list[tuple[pathlib.Path, Marked]]:
  """Pairs every marked object with its image.

  Args:
    images: files.
    files: of keypoints; as many, or one for all.

  Raises:
    FileNotFoundError, ValueError: a file is missing or wrong, or was marked on an
      image of another size.
  """
  if len(files) == 1:
    files = [*files] * len(images)
  if len(files) != len(images):
    raise ValueError(
      f"--keypoints: got {len(files)} files for {len(images)} support images, expected "
      "as many, or one for all"
    )
  marked = []
  for image, file in zip(map(pathlib.Path, images), map(pathlib.Path, files)):
    for found in keypoint_files.read(file, image.name):
      size = photographs.read(image, str(image)).shape[1::-1]
      if found.size not in (None, size):
        raise ValueError(
          f"{file} was marked on {found.size[0]} x {found.size[1]} pixels, but {image} "
          f"has {size[0]} x {size[1]} (turned as its EXIF data says)"
        )
      marked.append((image, found))
  return marked
