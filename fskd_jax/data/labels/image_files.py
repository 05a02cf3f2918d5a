"""Finds the image files that labels refer to by name or by frame number."""

import collections
import pathlib
import re
from collections.abc import Iterator, Sequence

from fskd_jax.data import images, names
from fskd_jax.data.images import SUFFIXES
from fskd_jax.data.labels.schema import LabelledImage, Labels
from fskd_jax.data.labels.tables import frame_number
from fskd_jax.messages import raise_if


def find(labels: Labels, folder: pathlib.Path) -> list[LabelledImage]:
  """Returns the images with file names below a folder, and with their stored sizes.

  A name matches the file that shares the longest end of its path: labeled-data/clip/
  a.png matches clip/a.png or a.png in the folder, or else the only a.png in any folder
  below. A frame matches the image whose name ends in its number; frames without an
  image are left out.

  Raises:
    FileNotFoundError: There is no such folder, a named image is not in it, or it has
      none of the frames.
    ValueError: An image cannot be read or was labelled in another size, or two images
      have the number of the same frame.
  """
  if not folder.is_dir():
    raise FileNotFoundError(f"--images: there is no folder {folder}")
  files = sorted(
    file.relative_to(folder).as_posix()
    for file in folder.rglob("*")
    if file.suffix.lower() in SUFFIXES
  )
  frames = [image.name for image in labels.images if isinstance(image.name, int)]
  known: dict[str | int, str] = {**_by_name(files)}
  if frames:
    known |= _by_number(files, folder)
  found = [(image, _file(image.name, known)) for image in labels.images]
  lost = [repr(i.name) for i, file in found if file is None and i.name not in {*frames}]
  raise_if(lost, FileNotFoundError, f"images that are not in {folder}")
  led = names.outside(folder, [file for _, file in found if file is not None])
  raise_if(led, ValueError, f"images that are links out of {folder}")
  there = [
    image._replace(name=file, size=_size(folder / file, image.size))
    for image, file in found
    if file is not None
  ]
  if not there:
    raise FileNotFoundError(
      f"{folder}: no image is one of the {len(frames)} frames; expected names that end "
      "in the number of the frame, from 0 (frame_000012.png)"
    )
  return there


def _by_name(files: Sequence[str]) -> dict[str, str]:
  """Returns files by path, and by name alone if the name is unique."""
  ends = [file.rsplit("/", 1)[-1] for file in files]
  counts = collections.Counter(ends)
  alone = {end: file for end, file in zip(ends, files) if counts[end] == 1}
  return alone | {file: file for file in files}


def _by_number(files: Sequence[str], folder: pathlib.Path) -> dict[int, str]:
  found: dict[int, str] = {}
  for file in files:
    number = frame_number(file)
    if number in found:
      raise ValueError(
        f"{folder}: {found[number]} and {file} both end in {number}; frames are found "
        "by the number in the name: keep the images of one video in a folder"
      )
    if number is not None:
      found[number] = file
  return found


def _file(name: str | int, known: dict[str | int, str]) -> str | None:
  if isinstance(name, int):
    return known.get(name)
  return next((known[end] for end in _ends(name) if end in known), None)


def _ends(name: str) -> Iterator[str]:
  """Yields the ends of a path, longest first; then without Label Studio's prefix."""
  parts = name.replace("\\", "/").split("/")
  for start in range(len(parts)):
    yield "/".join(parts[start:])
  yield re.sub(r"^[0-9a-f]{8}-", "", parts[-1])  # prefix of uploaded files


def _size(path: pathlib.Path, told: tuple[int, int] | None) -> tuple[int, int]:
  with images.opened(path, str(path)) as image:
    size = image.size
  if told not in (None, size):
    hint = "; if its EXIF data turns it, store it turned" if told == size[::-1] else ""
    raise ValueError(
      f"image {path} has {size[0]} x {size[1]} stored pixels, but was labelled with "
      f"{told[0]} x {told[1]}{hint}"
    )
  return size
