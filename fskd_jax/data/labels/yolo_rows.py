"""Reads the lines of YOLO-pose files of labels.

A line is an object: class, centre x and y, width and height of the box, and x, y and
visibility (0 missing, 1 occluded, 2 visible) of each keypoint; or x and y alone, with 0
0 or negative numbers for a missing one. All are shares of the size, counted from the
corner of the first pixel. A third number between 0 and 1 is a confidence, and may be
followed by that of the box (`yolo predict save_txt=True save_conf=True`).
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fskd_jax.data.labels import parsing
from fskd_jax.data.labels.schema import (
  TO_CENTER,
  Category,
  Keypoint,
  LabelledObject,
)
from fskd_jax.messages import shown

_MOST_BYTES = 2**24
_BOX = 5  # numbers before the keypoints
_SLACK = 0.5  # shares beyond the image, above which they are taken for pixels

Row = tuple[str, list[float]]
"""A line: its place in messages, and its numbers."""


def rows(path: pathlib.Path) -> list[Row]:
  """Returns the lines of a file.

  Raises:
    ValueError: A line has other than numbers, or fewer than a box has.
  """
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB of labels")
  found = []
  text = path.read_bytes().decode("utf-8-sig", "replace")
  for number, line in enumerate(text.splitlines(), 1):
    where = f"{path}: line {number}"
    values = [parsing.number(cell, f"{where}: a value") for cell in line.split()]
    if 0 < len(values) < _BOX:
      raise ValueError(f"{where} has {len(values)} numbers, expected {_BOX} or more")
    if values:
      found.append((where, values))
  return found


def look_right(path: pathlib.Path) -> bool:
  """Returns whether a file holds lines of a box and keypoints."""
  try:
    found = rows(path)
  except ValueError:
    return False
  return any(len(values) > _BOX + 1 for _, values in found) and all(
    values[0].is_integer() and all(0 <= v <= 1 for v in values[1:_BOX])
    for _, values in found
  )


def shape_of(every: Iterable[Row]) -> tuple[int, int]:
  """Returns the number of keypoints, and the numbers of each, where none is told.

  Raises:
    ValueError: Lines have other numbers of values, or none has keypoints.
  """
  marked = [(where, v[_BOX:]) for where, v in every if len(v) > _BOX]
  if not marked:
    raise ValueError("the labels have boxes only, expected keypoints")
  lengths = {len(values) for _, values in marked}
  count = max(lengths)
  if len(lengths) > 1:
    raise ValueError(
      f"{marked[0][0]} and others have {min(lengths)} to {count} numbers after the box,"
      " expected the same in all; are they outlines? data.yaml with kpt_shape tells"
    )
  thirds = {v for _, values in marked for v in values[2::3]}
  if count % 3 == 0 and (thirds <= {0, 1, 2} or count % 2):
    return count // 3, 3
  if count % 2:
    raise ValueError(f"{marked[0][0]} has {count} numbers after the box")
  return count // 2, 2


class Reader:
  """Reader of the lines of a data set, which collects its categories."""

  def __init__(
    self,
    shape: tuple[int, int],
    classes: Mapping[int, str],
    keypoints: Mapping[int | None, Sequence[str]],
  ):
    """Takes the settings of a data set.

    Args:
      shape: The number of keypoints, and of numbers of each.
      classes: The names of classes, by number; empty if there are none.
      keypoints: The names of keypoints by class, or for all under None.
    """
    self._count, self._step = shape
    self._classes = classes
    self._keypoints = keypoints
    self.categories: dict[str, Category] = {}
    for number in classes:
      self._species(number, "")

  def read(self, row: Row, size: tuple[int, int]) -> LabelledObject:
    """Returns the object of a line in an image of (width, height) pixels.

    Raises:
      ValueError: The line has another number of values, a class without a name, or
        coordinates in pixels.
    """
    where, values = row
    species = self._species(values[0], where)
    body = values[_BOX : _BOX + self._count * self._step]
    more = len(values) - _BOX - self._count * self._step
    if len(values) > _BOX + 1 and more not in (0, 1, 2):
      raise ValueError(
        f"{where} has {len(values)} numbers, expected {_BOX} of the class and box, and "
        f"{self._step} of each of {self._count} keypoints"
      )
    if max(map(abs, values[1:_BOX])) > 1 + _SLACK:
      raise ValueError(
        f"{where}: the box is {shown(values[1:_BOX])}, expected shares of the size "
        "from 0 to 1; are they pixels?"
      )
    x, y, w, h = (v * side for v, side in zip(values[1:_BOX], size * 2))
    points = zip(self.categories[species].keypoints, self._points(body, size))
    keypoints = {name: point for name, point in points if point}
    return LabelledObject(keypoints, species, (x - w / 2, y - h / 2, w, h))

  def _species(self, number: float, where: str) -> str:
    if not self._classes:
      species = f"class {number:g}" if number else ""
    elif number not in self._classes:
      raise ValueError(
        f"{where}: class {number:g} is none of {shown({**self._classes})}"
      )
    else:
      species = self._classes[int(number)]
    names = self._keypoints.get(int(number), self._keypoints.get(None))
    names = tuple(names or parsing.numbered(self._count))
    self.categories.setdefault(species, Category(names))
    return species

  def _points(
    self, values: Sequence[float], size: tuple[int, int]
  ) -> Iterator[Keypoint | None]:
    width, height = size
    for start in range(0, len(values), self._step):
      x, y, *seen = values[start : start + self._step]
      v = seen[0] if seen else 2.0
      if v <= 0 or (not seen and (x < 0 or y < 0 or x == y == 0)):
        yield None
        continue
      sure = None if v in (1, 2) else v
      px, py = x * width + TO_CENTER, y * height + TO_CENTER
      yield Keypoint(px, py, v == 1, sure)
