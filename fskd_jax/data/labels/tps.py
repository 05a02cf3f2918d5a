"""Reads TPS files of morphometrics (tpsDig): landmarks of one object after another.

An object is the line LM=n, n lines of x and y, and lines of the kind NAME=value, of
which IMAGE names its image. y is the height of the image minus the row of the pixel, as
ml-morph reads it and as its wings and shells show. Landmarks have no names: they are
"1", "2", .. A coordinate below 0 or NA is a missing landmark.
"""

import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fskd_jax.data.labels import parsing, pictures_near
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.messages import shown

_log = logging.getLogger(__name__)

_MOST_BYTES = 2**28
_CURVES = ("CURVES", "CURVES3", "OUTLINES")


class _Specimen(NamedTuple):
  image: str
  points: list[tuple[float, float] | None]


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Labels:
  """Reads a file and the heights of its images.

  Args:
    path: The file.
    images: The folder of the images; that of the file if it is not given.

  Raises:
    FileNotFoundError: None of its images is there.
    ValueError: The file has no landmarks, a number is missing, or landmarks have three
      dimensions or no image.
  """
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB of text")
  text = path.read_bytes().decode("utf-8-sig", "replace")
  specimens = [*_specimens(text.splitlines(), path)]
  if not specimens:
    raise ValueError(f"{path}: no landmarks in it; expected lines LM=n, x y, IMAGE=..")
  found = pictures_near.find([s.image for s in specimens], path, images)
  objects: dict[str, list[LabelledObject]] = {}
  for specimen in specimens:
    if picture := found.get(specimen.image):
      _, height = picture.size
      keypoints = {
        str(number): Keypoint(point[0], height - point[1])
        for number, point in enumerate(specimen.points, 1)
        if point
      }
      objects.setdefault(specimen.image, []).append(LabelledObject(keypoints))
  count = max(len(specimen.points) for specimen in specimens)
  return Labels(
    tuple(
      LabelledImage(found[image].name, found[image].size, tuple(several))
      for image, several in objects.items()
    ),
    {"": Category(parsing.numbered(count))},
  )


def _specimens(lines: Sequence[str], path: pathlib.Path) -> Iterator[_Specimen]:
  """Yields the objects; lines of curves and outlines are left out, with a warning."""
  starts = [i for i, line in enumerate(lines) if _key(line) in ("LM", "LM3")]
  for start, end in zip(starts, [*starts[1:], len(lines)]):
    where = f"{path}: line {start + 1}"
    key, _, value = (part.strip() for part in lines[start].partition("="))
    count = parsing.whole_number(value)
    if key.upper() == "LM3" or count is None:
      raise ValueError(f"{where}: {shown(lines[start])}, expected LM= and a number")
    body = [line for line in lines[start + 1 : end] if line.strip()]
    if len(body) < count:
      raise ValueError(f"{where}: {count} landmarks, of which {len(body)} follow")
    points = [_point(line, where) for line in body[:count]]
    settings = {_key(line): line.partition("=")[2].strip() for line in body[count:]}
    if curves := [key for key in _CURVES if key in settings]:
      _log.warning("%s: %s are left out, the landmarks are read", where, curves[0])
    if not settings.get("IMAGE"):
      raise ValueError(f"{where}: landmarks without a line IMAGE=FILE")
    yield _Specimen(settings["IMAGE"].replace("\\", "/"), points)


def _key(line: str) -> str:
  return line.partition("=")[0].strip().upper() if "=" in line else ""


def _point(line: str, where: str) -> tuple[float, float] | None:
  cells = line.replace(",", " ").split() if line.count(",") == 1 else line.split()
  if len(cells) != 2:
    raise ValueError(f"{where}: a landmark is {shown(line)}, expected x y")
  if any(cell.upper() in ("NA", "NAN") for cell in cells):
    return None
  x, y = (parsing.number(cell, f"{where}: a coordinate") for cell in cells)
  return None if x < 0 or y < 0 else (x, y)
