"""What a format leaves out and COCO needs: image files, their sizes, boxes."""

import collections
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from PIL import Image

from fskd_jax.data.images import BROKEN, SUFFIXES
from fskd_jax.data.labels.schema import (
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  keypoint_names,
)
from fskd_jax.data.labels.tables import frame_number

_MARGIN = 0.1
_LEAST_MARGIN = 8.0  # pixels: a single keypoint gives no size
_SLACK = 0.5  # pixels: what rounding, or another index base, may put beyond the edge
_SHOWN = 5


class Completed(NamedTuple):
  """Labels that can be written, and what had to be made up for it.

  Attributes:
    labels: every image has a file name, a size, and boxes around its objects.
    left_out: labelled frames for which there is no image.
    made_boxes: objects whose box was made from their keypoints.
  """

  labels: Labels
  left_out: int
  made_boxes: int


def complete(labels: Labels, folder: pathlib.Path | None, source: str) -> Completed:
  """Finds the image files, takes their sizes, and makes boxes where there are none.

  A file is found by the longest end of its path that the folder has, so that
  labeled-data/clip/a.png is clip/a.png or a.png in it, or else the only a.png in any
  folder below. A frame is the image whose name
  ends in its number; frames without an image are left out. A made box surrounds the
  labelled keypoints by 10 % of the longer side, at least 8 pixels.

  Args:
    labels: of any format.
    folder: of the images; None: the file must have names and sizes itself.
    source: named in messages.

  Raises:
    FileNotFoundError: an image is not in the folder.
    ValueError: no image or no keypoint, a size is missing or differs, two entries are
      of one image, a keypoint is outside its image by more than half a pixel, or a box
      wholly.
  """
  if not labels.images or not keypoint_names(labels):
    raise ValueError(f"{source}: has no {'keypoints' if labels.images else 'images'}")
  images = [*(_sized(labels, source) if folder is None else _found(labels, folder))]
  labelled = [sum(bool(i.objects) for i in every) for every in (labels.images, images)]
  left_out = labelled[0] - labelled[1]
  counts = collections.Counter(image.name for image in images)
  twice = [str(name) for name, count in counts.items() if count > 1]
  _raise_if(twice, ValueError, f"{source}: several entries are of one image")
  outside = [text for image in images for text in _outside(image)]
  _raise_if(outside, ValueError, f"{source}: labels outside their image")
  bare = sum(found.box is None for image in images for found in image.objects)
  boxed = tuple(
    image._replace(objects=tuple(_boxed(found, image) for found in image.objects))
    for image in images
  )
  return Completed(labels._replace(images=boxed), left_out, bare)


def _sized(labels: Labels, source: str) -> Iterator[LabelledImage]:
  for image in labels.images:
    name = pathlib.PurePosixPath(str(image.name))
    if isinstance(image.name, int):
      lacks = f"frame {image.name} has no file name"
    elif name.is_absolute() or ".." in name.parts:
      lacks = f"{name} is not below a folder of images"
    elif image.size is None:
      lacks = f"{name} has no width and height"
    else:
      yield image
      continue
    raise ValueError(f"{source}: {lacks}; name the folder of the images with --images")


def _found(labels: Labels, folder: pathlib.Path) -> Iterator[LabelledImage]:
  if not folder.is_dir():
    raise FileNotFoundError(f"--images: there is no folder {folder}")
  files = sorted(
    file.relative_to(folder).as_posix()
    for file in folder.rglob("*")
    if file.suffix.lower() in SUFFIXES
  )
  known = {file: file for file in files}
  counts = collections.Counter(file.rsplit("/", 1)[-1] for file in files)
  for file in files:  # a file may be named without its folders if that is clear
    name = file.rsplit("/", 1)[-1]
    if counts[name] == 1:
      known.setdefault(name, file)
  numbered = {}
  if any(isinstance(image.name, int) for image in labels.images):
    numbered = _numbered(files, folder)
  lost, empty = [], True
  for image in labels.images:
    if isinstance(image.name, int):
      name = numbered.get(image.name)
    else:
      name = next((known[end] for end in _ends(image.name) if end in known), None)
      if name is None:
        lost.append(image.name)
    if name is not None:
      empty = False
      yield image._replace(name=name, size=_size(folder / name, image.size))
  _raise_if(lost, FileNotFoundError, f"images that are not in {folder}")
  if empty:
    raise FileNotFoundError(
      f"{folder}: no image is one of the {len(labels.images)} frames; expected names "
      "that end in the number of the frame, from 0 (frame_000012.png)"
    )


def _numbered(files: Iterable[str], folder: pathlib.Path) -> dict[int, str]:
  found: dict[int, str] = {}
  for name in files:
    number = frame_number(name)
    if number in found:
      raise ValueError(
        f"{folder}: {found[number]} and {name} both end in {number}; frames are found "
        "by the number in the name: keep the images of one video in a folder"
      )
    if number is not None:
      found[number] = name
  return found


def _ends(name: str) -> Iterator[str]:
  """Yields the ends of a path, longest first; then without Label Studio's prefix."""
  parts = name.replace("\\", "/").split("/")
  for start in range(len(parts)):
    yield "/".join(parts[start:])
  yield re.sub(r"^[0-9a-f]{8}-", "", parts[-1])  # of uploaded files


def _size(path: pathlib.Path, told: tuple[int, int] | None) -> tuple[int, int]:
  try:
    with Image.open(path) as image:
      size = image.size
  except BROKEN as error:
    raise ValueError(f"image {path} cannot be read: {error}") from error
  if told not in (None, size):
    hint = "; if its EXIF data turns it, store it turned" if told == size[::-1] else ""
    raise ValueError(
      f"image {path} has {size[0]} x {size[1]} stored pixels, but was labelled with "
      f"{told[0]} x {told[1]}{hint}"
    )
  return size


def _outside(image: LabelledImage) -> Iterator[str]:
  assert image.size
  width, height = image.size
  of = f"outside {width} x {height} pixels"
  for found in image.objects:
    for name, point in found.keypoints.items():
      beyond = max(-point.x, -point.y, point.x - width + 1, point.y - height + 1) - 0.5
      if beyond > _SLACK:
        yield f"{image.name}: {name!r} at ({point.x:g}, {point.y:g}), {of}"
    x, y, w, h = found.box or (0, 0, 1, 1)
    if w <= 0 or h <= 0 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
      yield f"{image.name}: a box at ({x:g}, {y:g}) of {w:g} x {h:g}, {of} or empty"


def _boxed(found: LabelledObject, image: LabelledImage) -> LabelledObject:
  if found.box is not None:
    return found
  assert found.keypoints and image.size
  return found._replace(box=_around(found.keypoints.values(), image.size))


def _around(
  points: Iterable[Keypoint], size: tuple[int, int]
) -> tuple[float, float, float, float]:
  points = [*points]
  spans = []
  for values in ([p.x for p in points], [p.y for p in points]):
    spans.append((min(values) + 0.5, max(values) + 0.5))  # from the corner
  margin = max(_MARGIN * max(b - a for a, b in spans), _LEAST_MARGIN)
  (x0, x1), (y0, y1) = (
    (max(a - margin, 0.0), min(b + margin, float(side)))
    for (a, b), side in zip(spans, size)
  )
  return x0, y0, x1 - x0, y1 - y0


def _raise_if(cases: list[str], kind: type[Exception], what: str) -> None:
  if cases:
    more = f" and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
    raise kind(f"{what}: {'; '.join(cases[:_SHOWN])}{more}")
