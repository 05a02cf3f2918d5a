"""Keypoints and boxes of COCO annotations, brought into the one form that is checked.

Tools write keypoints flat, nested, with nulls, with confidences in the place of v, or
without v; and no box, or an empty one.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeGuard

MARGIN = 0.1
"""Margin of a box made around keypoints, in parts of their longer side."""

LEAST_CONFIDENCE = 0.5
"""Confidence below which a machine's keypoint is more often wrong than right."""

_LEAST_MARGIN = 8.0  # pixels: a single keypoint gives no size


class Values(NamedTuple):
  """The keypoints of an annotation.

  Attributes:
    flat: x, y, v of each; v is 0, 1 or 2 unless the file has something else there.
    confidences: The confidence of each, where the file has one in the place of v.
    at_origin: The number of keypoints without v that lie at (0, 0) and so are missing.
  """

  flat: list[Any]
  confidences: list[float] | None = None
  at_origin: int = 0


def are_given(values: Any) -> TypeGuard[list[Any]]:
  """Whether an annotation has keypoints at all."""
  return isinstance(values, list) and len(values) > 0


def keypoints(values: list[Any], count: int | None) -> Values:
  """Returns the keypoints of an annotation as flat x, y, v.

  Args:
    values: Flat or nested, [x, y, v] or [x, y] each; null where missing.
    count: The number of keypoints of the category, None if it is not known.
  """
  nested = [row for row in values if isinstance(row, list | None)]
  if len(nested) == len(values) and any(values):
    rows = [row or [None, None, 0] for row in nested]
    is_bare = all(len(row) == 2 for row in rows if row != [None, None, 0])
  elif isinstance(values[0], list):
    return Values(values)
  else:
    is_bare = count is not None and len(values) == 2 * count
    side = 2 if is_bare else 3
    if len(values) % side:
      return Values(values)
    rows = [values[start : start + side] for start in range(0, len(values), side)]
  rows = [_filled(row) for row in rows]
  if any(len(row) != 3 for row in rows):
    return Values([value for row in rows for value in row])
  at_origin = sum(is_bare and row[:2] == [0, 0] and row[2] == 2 for row in rows)
  rows = [[0, 0, 0] if is_bare and row[:2] == [0, 0] else row for row in rows]
  shares = [row[2] for row in rows]
  if any(_is_share(share) for share in shares):
    if all(_number(share) and 0 <= share <= 1 for share in shares):
      flat = [v for x, y, sure in rows for v in (x, y, 2 * (sure >= LEAST_CONFIDENCE))]
      return Values(flat, [float(share) for share in shares])
  return Values([value for row in rows for value in row], None, at_origin)


def _filled(row: list[Any]) -> list[Any]:
  """Returns a row with v, in which what is missing is (0, 0, 0)."""
  if len(row) not in (2, 3):
    return row
  x, y, v = (*row, 2)[:3]
  if (_is_nothing(x) and _is_nothing(y)) or v is False:
    return [0, 0, 0]
  if v is None or v is True:
    v = 2
  return [x, y, int(v) if isinstance(v, float) and v.is_integer() else v]


def _is_nothing(value: Any) -> bool:
  return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
  return isinstance(value, float) and 0 < value < 1


def has_no_box(box: Any) -> bool:
  """Whether a box is missing: none, all zeros or without an extent, or not a number."""
  if not isinstance(box, list):
    return box in (None, False, "")
  if not box or any(map(_is_nothing, box)):
    return True
  return len(box) == 4 and all(map(_number, box)) and 0 in box[2:]


def box_around(
  points: Iterable[Sequence[float]], size: tuple[float, float]
) -> tuple[float, float, float, float]:
  """Returns the box (x, y, width, height) around keypoints, cut at the image.

  Its margin is 10 % of the longer side, at least 8 pixels.

  Args:
    points: (x, y) each, pixel indices; at least one.
    size: (width, height) of the image.
  """
  spans = [(min(axis) + 0.5, max(axis) + 0.5) for axis in zip(*points)]
  margin = max(MARGIN * max(b - a for a, b in spans), _LEAST_MARGIN)
  (x0, x1), (y0, y1) = (
    (max(a - margin, 0.0), min(b + margin, float(side)))
    for (a, b), side in zip(spans, size)
  )
  return x0, y0, x1 - x0, y1 - y0
