"""Parses marks, numbers and ids for the readers of JSON and XML."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fskd_jax.data.labels.schema import Keypoint, LabelledObject
from fskd_jax.messages import shown


class Mark(NamedTuple):
  """A point or a box that is not assigned to an object yet.

  Attributes:
    label: The name of the keypoint, or the species of the box.
    group: The id that all marks of an object share; None if there is none.
    point: The keypoint; None for a box.
    box: The box; None for a point.
    species: The species of the object, if a point has it.
  """

  label: str
  group: str | None = None
  point: Keypoint | None = None
  box: tuple[float, float, float, float] | None = None
  species: str = ""


def assemble(
  marks: Sequence[Mark], where: str, grouping: str
) -> tuple[LabelledObject, ...]:
  """Makes objects of marks; marks without a group belong to the only object.

  An object with neither keypoints nor a box is left out.

  Args:
    marks: The marks of an image, in order.
    where: The name of the image in messages.
    grouping: The name in messages of the field that groups marks in this format.

  Raises:
    ValueError: A label or a box occurs twice in an object, or a mark without a group
      could belong to several.
  """
  groups: dict[str | None, list[Mark]] = {}
  for mark in marks:
    groups.setdefault(mark.group, []).append(mark)
  loose = groups.pop(None, [])
  if loose and len(groups) > 1:
    raise ValueError(
      f"{where}: {loose[0].label!r} belongs to none of the {len(groups)} objects; "
      f"give it the {grouping} of one"
    )
  if loose:
    (key,) = groups or (None,)
    groups[key] = [*groups.get(key, []), *loose]
  objects = [_object(group, where, grouping) for group in groups.values()]
  return tuple(found for found in objects if found.keypoints or found.box)


def _object(marks: Sequence[Mark], where: str, grouping: str) -> LabelledObject:
  keypoints: dict[str, Keypoint] = {}
  boxes = [mark for mark in marks if mark.box]
  for mark in marks:
    if mark.point and mark.label in keypoints:
      raise ValueError(
        f"{where}: the label {mark.label!r} occurs twice; several objects need each a "
        f"{grouping} of its own"
      )
    if mark.point:
      keypoints[mark.label] = mark.point
  if len(boxes) > 1:
    raise ValueError(
      f"{where}: {len(boxes)} boxes of one object; several objects need each a "
      f"{grouping} of its own"
    )
  told = [mark.species for mark in marks if mark.species]
  return LabelledObject(
    keypoints,
    species=(told or [box.label for box in boxes] or [""])[0],
    box=boxes[0].box if boxes else None,
  )


def number(value: Any, where: str) -> float:
  """Returns a finite number below 1e9 from a number or text.

  Raises:
    ValueError: The value is not such a number.
  """
  try:
    parsed = plain_float(value) if isinstance(value, str) else float(value)
  except (TypeError, ValueError, OverflowError):
    parsed = math.nan
  if isinstance(value, bool) or not abs(parsed) < 1e9:  # nan compares false
    raise ValueError(f"{where} is {shown(value)}, expected a finite number below 1e9")
  return parsed


def plain_float(text: str) -> float:
  """Parses a number, which may be NaN or infinite.

  Raises:
    ValueError: The text is not a number, or has digits that only Python reads (1_0, or
      digits outside ASCII).
  """
  if "_" in text or not text.isascii():
    raise ValueError(f"{shown(text)} is no number")
  return float(text)


def whole_number(text: str) -> int | None:
  """Returns the number written in up to 15 ASCII digits, or None for other texts."""
  text = text.strip()
  return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def numbered(count: int) -> tuple[str, ...]:
  """Returns the names of keypoints that have none: "1", "2", ..."""
  return tuple(str(number) for number in range(1, count + 1))


def identity(value: Any) -> str | None:
  """Returns a group or id as text; None stays None.

  Raises:
    ValueError: The value is neither text nor number.
  """
  if not isinstance(value, str | int | float | None):
    raise ValueError(f"a group or id is {shown(value)}, expected a text or number")
  return None if value is None else str(value)


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
  """Returns an image size, or None unless both are whole numbers above 0."""
  try:
    sides = number(width, "width"), number(height, "height")
  except ValueError:
    return None
  whole = all(side.is_integer() and 0 < side < 1e9 for side in sides)
  return (int(sides[0]), int(sides[1])) if whole else None
