"""Checks the keypoints and boxes that a user gives, and converts them to arrays."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from fskd_jax.data.annotations import clip_box
from fskd_jax.messages import shown
from fskd_jax.prediction import photographs

_log = logging.getLogger(__name__)

Box = Sequence[float]
"""(x, y, width, height) in pixels."""

Points = Mapping[str, Any] | Sequence[Any] | np.ndarray
"""Keypoints of one image: (x, y) or (x, y, v) each; None, NaN or v = 0 if missing."""


def checked_box(box: Box | None, size: tuple[int, int], label: str) -> Box:
  """Returns the part of a box inside its image.

  Args:
    box: (x, y, width, height), pixels; None is the whole image.
    size: (width, height) of the image.
    label: Name of the image in messages.

  Raises:
    ValueError: The box is not four numbers, is empty, or lies outside the image.
  """
  if box is None:
    return (0, 0, *size)
  values = np.asarray(box, np.float64)
  if values.shape != (4,) or not np.isfinite(values).all():
    raise ValueError(f"{label}: box {box}, expected 4 numbers x, y, width, height")
  clipped = clip_box(values, size)
  if min(clipped[2:]) <= 0:
    raise ValueError(
      f"{label}: box {box} is empty or outside the image of {size[0]} x {size[1]}"
    )
  return clipped


def points_by_name(
  keypoints: Sequence[Points], names: Sequence[str] | None, labels: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "k n 2"]]:
  """Arranges the keypoints of several images in one order.

  Args:
    keypoints: Keypoints of each image.
    names: Names of points given as arrays; by default "keypoint 1" and so on.
    labels: Names of the images in messages.

  Returns:
    The names and float64 [k n 2], NaN where missing.

  Raises:
    ValueError: Names and points do not fit together, or an image shares no name with
      the others.
  """
  named = [points for points in keypoints if isinstance(points, Mapping)]
  if named:
    if len(named) < len(keypoints) or names is not None:
      raise ValueError("keypoints: give all by name, or none and `names` apart")
    names = tuple(dict.fromkeys(name for points in named for name in points))
    _check_differences(named, names, labels)
    keypoints = [[points.get(name) for name in names] for points in named]
  elif names is None:
    names = tuple(f"keypoint {i + 1}" for i in range(max(map(len, keypoints))))
  if len(set(names)) < len(names):
    raise ValueError(f"names: repeated in {list(names)}")
  for label, points in zip(labels, keypoints):
    if len(points) != len(names):
      raise ValueError(f"{label}: {len(points)} keypoints for {len(names)} names")
  rows = [
    [_point(point, f"{label}: keypoint {name!r}") for name, point in zip(names, points)]
    for label, points in zip(labels, keypoints)
  ]
  return tuple(names), np.array(rows, np.float64).reshape(len(labels), len(names), 2)


def _check_differences(
  keypoints: Sequence[Mapping[str, Any]],
  names: tuple[str, ...],
  labels: Sequence[str],
) -> None:
  for label, points in zip(labels, keypoints):
    others = {name for other in keypoints if other is not points for name in other}
    if points and others and not others & set(points):
      raise ValueError(
        f"{label} shares no keypoint name with the other support images: "
        f"{sorted(points)} there, {sorted(others)} in the others"
      )
    missing = [name for name in names if name not in points]
    if missing:
      _log.warning("%s: not named, so not visible there: %s", label, ", ".join(missing))


def _point(point: Any, label: str) -> tuple[float, float]:
  """Returns (x, y), or NaN for a missing point."""
  if point is None:
    return (np.nan, np.nan)
  try:
    x, y, *rest = np.asarray(point, np.float64).tolist()
  except (TypeError, ValueError, OverflowError) as error:
    raise ValueError(f"{label} is {shown(point)}, expected (x, y) or None") from error
  if len(rest) > 1:
    raise ValueError(f"{label} has {2 + len(rest)} numbers, expected (x, y) or None")
  return (np.nan, np.nan) if rest == [0] else (x, y)


def check_points(
  label: str,
  size: tuple[int, int],
  points: Float[np.ndarray, "n 2"],
  visible: Bool[np.ndarray, " n"],
  names: Iterable[str],
) -> None:
  """Checks that an image shows keypoints, all of them inside it.

  Args:
    label: Name of the image in messages.
    size: (width, height) of the image.
    points: Keypoints, pixels.
    visible: Whether each keypoint is annotated.
    names: Names of the keypoints.

  Raises:
    ValueError: No keypoint is visible, or one lies outside the image.
  """
  if not visible.any():
    raise ValueError(f"{label}: a support image without keypoints teaches nothing")
  limits = np.array(size) - 0.5
  for name, point, seen in zip(names, points, visible):
    if seen and not ((point >= -0.5) & (point <= limits)).all():
      raise ValueError(
        f"{label}: keypoint {name!r} at ({point[0]:g}, {point[1]:g}) lies outside the "
        f"image of {size[0]} x {size[1]} pixels"
      )


def require_list(images: Any, name: str) -> None:
  """Checks that images were given as a list.

  Raises:
    ValueError: The argument is a single image or an empty list. The message names it.
  """
  if isinstance(images, (str, os.PathLike, Image.Image, photographs.Decoded)) or (
    isinstance(images, np.ndarray) and images.ndim < 4
  ):
    raise ValueError(f"{name}: got a single image, expected a list of images")
  if not len(images):
    raise ValueError(f"{name}: got none")


def box_per_image(boxes: Sequence[Any] | None, count: int) -> Sequence[Any]:
  """Returns the boxes, or None for each of `count` images.

  Raises:
    ValueError: There are more or fewer boxes than images.
  """
  if boxes is None:
    return [None] * count
  if len(boxes) != count:
    raise ValueError(f"boxes: got {len(boxes)} for {count} images")
  return boxes
