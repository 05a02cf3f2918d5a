"""Collects the query images and the marked support images of a command."""

import glob
import pathlib
from collections.abc import Sequence

from fskd_jax.data import coco_file
from fskd_jax.messages import shown
from fskd_jax.prediction import keypoint_files, photographs
from fskd_jax.prediction.keypoint_files import Marked

IMAGE_SUFFIXES = ".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm".split()
"""What is taken from a folder."""


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


def read_boxes(path: str) -> dict[str, tuple[float, ...]]:
  """Reads boxes by file name: {"cat.jpg": [x, y, width, height]}.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no such JSON.
  """
  content = coco_file.read_json(pathlib.Path(path))
  for name, box in content.items() if isinstance(content, dict) else [("it", content)]:
    if not isinstance(box, list) or len(box) != 4 or not coco_file.are_finite(box):
      raise ValueError(
        f"{path}: {shown(name)} is {shown(box)}, expected JSON "
        "{file name: [x, y, width, height]}"
      )
  return {name: tuple(map(float, box)) for name, box in content.items()}


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
