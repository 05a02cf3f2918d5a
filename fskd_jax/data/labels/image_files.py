"""Finds the image files that labels refer to by name or by frame number."""

import logging
import pathlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fskd_jax.data import images, names
from fskd_jax.data.labels import paths
from fskd_jax.data.labels.row_names import frames_of
from fskd_jax.data.labels.schema import LabelledImage, Labels
from fskd_jax.messages import join_first, raise_if

_log = logging.getLogger(__name__)


class Found(NamedTuple):
  """Images that were looked for in a folder.

  Attributes:
    images: Those that are there, with the names of their files and stored sizes.
    missing: The names of those that are not, without frames.
  """

  images: list[LabelledImage]
  missing: tuple[str, ...] = ()


def find(labels: Labels, folder: pathlib.Path) -> Found:
  """Returns the images with file names below a folder, and with their stored sizes.

  A name is matched with the file that shares the longest end of its path
  (`paths.match`): labeled-data/clip/a.png with clip/a.png or a.png. A frame is matched
  with the image whose name ends in its number. If no name does, and the folder has as
  many images as there are frames, from 0 without a gap, they are matched in the order
  of their names.

  Raises:
    FileNotFoundError: There is no such folder, or it has none of the images.
    ValueError: An image cannot be read or was labelled in another size, a name may be
      two files, or two images have the number of the same frame.
  """
  if not folder.is_dir():
    raise FileNotFoundError(f"--images: there is no folder {folder}")
  files = [file.relative_to(folder).as_posix() for file in images.below(folder)]
  wanted = [image.name for image in labels.images if isinstance(image.name, str)]
  frames = [image.name for image in labels.images if isinstance(image.name, int)]
  matches = paths.match(wanted, files)
  known: dict[str | int, str | None] = {**dict(zip(wanted, matches.files))}
  if frames:
    known |= _by_number(files, {*frames}, folder) or _in_order(files, frames, folder)
  lost = tuple(name for name in wanted if known[name] is None)
  if wanted and len(lost) == len(wanted):
    raise_if([*map(repr, lost)], FileNotFoundError, f"images that are not in {folder}")
  if matches.guesses:
    _log.warning(
      "%s: %d images are called otherwise in the labels; taken for those of other "
      "folders: %s", folder, len(matches.guesses),
      join_first(f"{name} = {file}" for name, file in matches.guesses),
    )  # fmt: skip
  found = [(image, known.get(image.name)) for image in labels.images]
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
  return Found(there, lost)


def _in_order(
  files: Sequence[str], frames: Sequence[int], folder: pathlib.Path
) -> dict[int, str]:
  """Returns the images of all frames of a video, by the order of their names."""
  if sorted(frames) != [*range(len(files))]:
    return {}
  _log.warning(
    "%s: no name of an image ends in the number of its frame; %d images are taken for "
    "the %d frames, in the order of their names", folder, len(files), len(frames),
  )  # fmt: skip
  return dict(enumerate(files))


def _by_number(
  files: Sequence[str], frames: Collection[int], folder: pathlib.Path
) -> dict[int, str]:
  found: dict[int, str] = {}
  for file, number in zip(files, frames_of(files)):
    if number in found:
      raise ValueError(
        f"{folder}: {found[number]} and {file} both end in {number}; frames are found "
        "by the number in the name: keep the images of one video in a folder"
      )
    if number is not None and number in frames:
      found[number] = file
  return found


def _size(path: pathlib.Path, told: tuple[int, int] | None) -> tuple[int, int]:
  with images.opened(path, str(path)) as image:
    size, stored = images.shown_size(image), image.size
  if told not in (None, size):
    hint = images.OF_STORED_PIXELS if told == stored else ""
    raise ValueError(
      f"image {path} has {size[0]} x {size[1]} pixels, but was labelled with "
      f"{told[0]} x {told[1]}{hint}"
    )
  return size
