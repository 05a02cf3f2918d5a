"""Completes labels with the image files, image sizes and boxes that COCO needs."""

import collections
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from fskd_jax.data import coco_values, names
from fskd_jax.data.labels import image_files
from fskd_jax.data.labels.schema import (
  LabelledImage,
  LabelledObject,
  Labels,
  keypoint_names,
)
from fskd_jax.messages import raise_if

_SLACK = 0.5  # pixels beyond the edge, by rounding or another index base


class Completed(NamedTuple):
  """Labels that are complete, and the changes that were needed.

  Attributes:
    labels: The labels; every image has a file name, a size, and boxes of its objects.
    left_out: The number of labelled images and frames whose file is missing.
    made_boxes: The number of objects whose box was made from their keypoints.
    missing: The names of the images that are missing, without frames.
  """

  labels: Labels
  left_out: int
  made_boxes: int
  missing: tuple[str, ...] = ()


def complete(
  labels: Labels,
  folder: pathlib.Path | None,
  source: str,
  *,
  outside: bool = False,
) -> Completed:
  """Finds the image files, takes their sizes, and makes boxes where there are none.

  A box made from keypoints has a margin of 10 % of the longer side, at least 8 pixels
  (`with_box`).

  Args:
    labels: The labels of any format.
    folder: The folder of the images; None if the labels have file names and sizes.
    source: The name of the labels in messages.
    outside: Whether keypoints outside their image are kept, for those who count them
      as missing; otherwise they are errors.

  Raises:
    FileNotFoundError: None of the images is in the folder (`image_files.find`).
    ValueError: There is no image or no keypoint, a size is missing or differs, two
      entries have the same image, a keypoint is outside its image by more than half a
      pixel, or a box is wholly outside.
  """
  if not labels.images or not keypoint_names(labels):
    raise ValueError(f"{source}: has no {'keypoints' if labels.images else 'images'}")
  if folder is None:
    images, missing = [*_sized(labels, source)], ()
  else:
    images, missing = image_files.find(labels, folder)
  problems = [p for image in images if (p := names.file_problem(image.name))]
  raise_if(problems, ValueError, f"{folder or source}: an image")
  labelled = [sum(bool(i.objects) for i in every) for every in (labels.images, images)]
  left_out = labelled[0] - labelled[1]
  counts = collections.Counter(image.name for image in images)
  twice = [str(name) for name, count in counts.items() if count > 1]
  raise_if(twice, ValueError, f"{source}: several entries are of one image")
  beyond = [text for image in images for text in _outside(image, outside)]
  raise_if(beyond, ValueError, f"{source}: labels outside their image")
  bare = sum(found.box is None for image in images for found in image.objects)
  boxed = tuple(
    image._replace(
      objects=tuple(with_box(x, image.size, labels) for x in image.objects)
    )
    for image in images
  )
  return Completed(labels._replace(images=boxed), left_out, bare, missing)


def _sized(labels: Labels, source: str) -> Iterator[LabelledImage]:
  for image in labels.images:
    if isinstance(image.name, int):
      lacks = f"frame {image.name} has no file name"
    elif problem := names.file_problem(image.name):
      lacks = f"the name of an image {problem}"
    elif image.size is None:
      lacks = f"{image.name!r} has no width and height"
    else:
      yield image
      continue
    raise ValueError(f"{source}: {lacks}; name the folder of the images with --images")


def _outside(image: LabelledImage, boxes_only: bool) -> Iterator[str]:
  assert image.size
  width, height = image.size
  of = f"outside {width} x {height} pixels"
  for found in image.objects:
    for name, point in () if boxes_only else found.keypoints.items():
      beyond = max(-point.x, -point.y, point.x - width + 1, point.y - height + 1) - 0.5
      if beyond > _SLACK:
        yield f"{image.name}: {name!r} at ({point.x:g}, {point.y:g}), {of}"
    x, y, w, h = found.box or (0, 0, 1, 1)
    if w <= 0 or h <= 0 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
      yield f"{image.name}: a box at ({x:g}, {y:g}) of {w:g} x {h:g}, {of} or empty"


def with_box(
  found: LabelledObject, size: tuple[int, int] | None, labels: Labels
) -> LabelledObject:
  """Returns an object with a box: its own, or one made around its keypoints.

  Keypoints of too little confidence are used only if there are no others.

  Args:
    found: An object with keypoints or a box.
    size: (width, height) of its image.
    labels: The labels that it belongs to.
  """
  if found.box is not None:
    return found
  assert found.keypoints and size
  points = [*found.keypoints.values()]
  trusted = [point for point in points if labels.trusts(point)]
  box = coco_values.box_around([(p.x, p.y) for p in trusted or points], size)
  return found._replace(box=box)
