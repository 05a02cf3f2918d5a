"""Makes objects of the points and boxes that people draw on an image."""

from collections.abc import Sequence
from typing import NamedTuple

from fskd_jax.data.labels.schema import TO_CENTER, Keypoint, LabelledObject

Box = tuple[float, float, float, float]

_LEAST_SHARE = 0.5  # of an object's keypoints in a box that is taken for its own


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
  box: Box | None = None
  species: str = ""


def assemble(
  marks: Sequence[Mark], where: str, grouping: str
) -> tuple[LabelledObject, ...]:
  """Makes objects of marks.

  A box without a group belongs to the object whose keypoints it holds, at least half
  of them; where it holds none, it is an object of its own. A point without a group
  belongs to the only object, or to that of the only box that it lies in. An object with
  neither keypoints nor a box is left out.

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
  boxes = [mark for mark in loose if mark.box]
  points = [mark for mark in loose if not mark.box]
  if len(groups) > 1 or len(boxes) > 1 or (groups and boxes and not points):
    _give_boxes(boxes, groups)
    boxes = []
  if points and len(groups) > 1:
    for point in points:
      groups[_group_around(point, groups, where, grouping)].append(point)
    points = []
  if points or boxes:
    (key,) = groups or (None,)
    groups[key] = [*groups.get(key, []), *points, *boxes]
  objects = [_object(group, where, grouping) for group in groups.values()]
  return tuple(found for found in objects if found.keypoints or found.box)


def _give_boxes(boxes: Sequence[Mark], groups: dict[str | None, list[Mark]]) -> None:
  """Adds each box to the group whose points it holds, or as a group of its own."""
  pairs = []
  for place, mark in enumerate(boxes):
    for key, group in groups.items():
      points = [m.point for m in group if m.point]
      if points and mark.box and not any(m.box for m in group):
        share = sum(_holds(mark.box, point) for point in points) / len(points)
        if share >= _LEAST_SHARE:
          pairs.append((share, -mark.box[2] * mark.box[3], place, key))
  pairs.sort(key=lambda pair: pair[:2], reverse=True)
  given: dict[int, str | None] = {}
  for _, _, place, key in pairs:
    if place not in given and key not in given.values():
      given[place] = key
  for place, mark in enumerate(boxes):
    groups.setdefault(given.get(place, f"box {place}"), []).append(mark)


def _holds(box: Box, point: Keypoint) -> bool:
  left, top, width, height = box
  x, y = point.x - TO_CENTER, point.y - TO_CENTER
  return left <= x <= left + width and top <= y <= top + height


def _group_around(
  mark: Mark, groups: dict[str | None, list[Mark]], where: str, grouping: str
) -> str | None:
  """Returns the group of the only box that a point lies in."""
  found = [
    key
    for key, group in groups.items()
    if mark.point and any(m.box and _holds(m.box, mark.point) for m in group)
  ]
  if len(found) != 1:
    raise ValueError(
      f"{where}: {mark.label!r} belongs to none of the {len(groups)} objects; give it "
      f"the {grouping} of one"
    )
  return found[0]


def _object(marks: Sequence[Mark], where: str, grouping: str) -> LabelledObject:
  keypoints: dict[str, Keypoint] = {}
  boxes = [mark for mark in marks if mark.box]
  labels = [mark.label for mark in marks if mark.point]
  for mark in marks:
    if mark.point and mark.label in keypoints:
      hint = f"several objects need each a {grouping} of its own"
      if len({*labels}) == 1:
        hint = (
          f"all {len(labels)} points share this label, so that no keypoint has a name "
          f"and nothing tells which is which; or {hint}"
        )
      raise ValueError(f"{where}: the label {mark.label!r} occurs twice; {hint}")
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
