"""Reads boxes of objects by image: plain JSON, or the results of a detector of objects.

Results are the JSON list that COCO defines, as MMDetection, Ultralytics and Detectron2
write it: [{"image_id": .., "bbox": [x, y, width, height], "score": ..}, ..].
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from fskd_jax.data import coco_file
from fskd_jax.data.labels import paths
from fskd_jax.files import read_json
from fskd_jax.messages import join_first, shown
from fskd_jax.prediction.inputs import Query

Boxes = dict[pathlib.Path, list[tuple[float, ...]]]
"""Boxes (x, y, width, height) by path of the query, pixels, best first."""

_PLAIN = "expected JSON {file name: [x, y, width, height]}, or a list of such boxes"
_RESULT = (
  'expected {"image_id": .., "bbox": [x, y, width, height], "score": ..} of a detector'
)


def read(path: str | os.PathLike, queries: Sequence[Query], most: int | None) -> Boxes:
  """Reads the boxes of queries.

  Args:
    path: Path of the JSON file. A file name, or an `image_id` that is a text, is the
      end of a query's path, with as many folders as make it unique; the suffix may be
      missing. An `image_id` that is a number is that of the file name, as in
      000000000139.jpg. Results of a detector name only some of the images of a larger
      set, maybe: those of no query are left out.
    queries: Queries of the boxes.
    most: Number of boxes of an image, at most; None for all. Of a detector's the best
      are taken.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file has another content or too many boxes without a score, or a
      name fits no query, or several.
  """
  content: Any = read_json(pathlib.Path(path))
  is_result = isinstance(content, list) and bool(content)
  if not (is_result or isinstance(content, dict)):
    raise ValueError(f"{path}: {_PLAIN}, got {shown(content)}")
  finder = _Finder(path, queries)
  scored: dict[pathlib.Path, list[tuple[float, tuple[float, ...]]]] = {}
  if is_result:
    for name, score, box in _results(path, content):
      if query := finder.of_result(name):
        scored.setdefault(query.path, []).append((score, box))
    if not scored:
      raise ValueError(
        f"{path}: none of its {len(content)} boxes is of a query; it names the images "
        f"{join_first({shown(entry['image_id']): 0 for entry in content}, ', ')}"
      )
  else:
    for name, boxes in _plain(path, content):
      query = finder.named(name)
      if query.path in scored:
        raise ValueError(f"{path}: there are two boxes for {shown(query.name)}")
      if most is not None and len(boxes) > most:
        raise ValueError(
          f"{path}: {len(boxes)} boxes for {shown(name)}, but {most} object"
          f"{'s' * (most > 1)} asked for: raise --objects, or say all"
        )
      scored[query.path] = [(0.0, box) for box in boxes]
  return {
    key: [box for _, box in sorted(found, key=lambda pair: -pair[0])][:most]
    for key, found in scored.items()
  }


class _Finder:
  """Finds the query that a file of boxes means."""

  def __init__(self, path: str | os.PathLike, queries: Sequence[Query]):
    self._path, self._queries = path, queries
    self._by_path = {os.path.abspath(query.path): query for query in queries}
    self._known = paths.PathIndex(self._by_path)
    stems = {os.path.splitext(path)[0]: query for path, query in self._by_path.items()}
    self._by_stem, self._stems = stems, paths.PathIndex(stems)

  def named(self, name: str) -> Query:
    """Returns the query of a name.

    Raises:
      ValueError: There is none, or there are several.
    """
    return self._only(name, self._near(name))

  def of_result(self, image: str | int) -> Query | None:
    """Returns the query of a detector's `image_id`, or None.

    Raises:
      ValueError: There are several.
    """
    if isinstance(image, int):
      found = [query for query in self._queries if _number(query.path.stem) == image]
    else:
      found = self._near(image)
      if not found:
        near = self._stems.nearest(image)
        found = [self._by_stem[path] for path in near.paths if near.whole]
    return self._only(image, found) if found else None

  def _near(self, name: str) -> list[Query]:
    near = self._known.nearest(name)
    return [self._by_path[path] for path in near.paths if near.whole]

  def _only(self, name: str | int, found: Sequence[Query]) -> Query:
    if len(found) != 1:
      names = join_first(shown(query.name) for query in found or self._queries)
      raise ValueError(
        f"{self._path}: {shown(name)} is the name of {len(found)} of the "
        f"{len(self._queries)} queries; expected one of {names}"
      )
    return found[0]


def _number(stem: str) -> int | None:
  return int(stem) if stem.isascii() and stem.isdigit() else None


def _is_box(value: Any) -> bool:
  return isinstance(value, list) and len(value) == 4 and coco_file.are_finite(value)


def _plain(
  path: str | os.PathLike, content: Any
) -> Iterator[tuple[str, list[tuple[float, ...]]]]:
  for name, value in content.items():
    boxes = [value] if _is_box(value) else value
    if not (isinstance(boxes, list) and boxes and all(map(_is_box, boxes))):
      raise ValueError(f"{path}: {shown(name)} is {shown(value)}, {_PLAIN}")
    yield name, [tuple(map(float, box)) for box in boxes]


def _results(
  path: str | os.PathLike, content: Any
) -> Iterator[tuple[str | int, float, tuple[float, ...]]]:
  for place, entry in enumerate(content):
    values: dict[str, Any] = entry if isinstance(entry, dict) else {}
    name: Any = values.get("file_name", values.get("image_id"))
    score: Any = values.get("score")
    is_named = isinstance(name, (str, int)) and "image_id" in values
    if not (is_named and _is_box(values.get("bbox")) and coco_file.are_finite([score])):
      raise ValueError(f"{path}: entry {place} is {shown(entry)}, {_RESULT}")
    yield name, float(score), tuple(map(float, values["bbox"]))
