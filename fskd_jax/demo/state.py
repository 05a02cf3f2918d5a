"""State of the page, and the actions on it as pure functions.

Coordinates are pixel indices of the pictures; boxes are (x, y, w, h).
"""

import collections
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from fskd_jax.demo.pictures import Opened, Picture, Point
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.files import COCO, PredictionFiles
from fskd_jax.prediction.results import Prediction

Role = Literal["support", "query"]

MAX_PICTURES = 200
"""Largest number of pictures of one role on a page."""

MAX_BYTES = 2**29
"""Largest memory for the pictures of a page, bytes."""

MAX_UNDO = 100
"""Largest number of changes that can be undone."""

MAX_UNDO_BYTES = 2**27
"""Largest memory for pictures that are only in the history, bytes."""

MAX_NAME = 100
"""Largest number of characters in a keypoint's name."""


class Shelf(NamedTuple):
  """Pictures of one role, one of which is shown."""

  pictures: tuple[Picture, ...] = ()
  shown: int = 0

  @property
  def current(self) -> Picture | None:
    """The picture shown."""
    return self.pictures[self.shown] if self.pictures else None


class Page(NamedTuple):
  """The content of a page; every change makes a new one.

  Attributes:
    support: The pictures with keypoints.
    query: The pictures in which to find them.
    corner: The first corner of an unfinished box: the role of its picture, and a point.
    prediction: The prediction for the query pictures; None after every change.
    before: The page before the last change.
  """

  support: Shelf = Shelf()
  query: Shelf = Shelf()
  corner: tuple[Role, Point] | None = None
  prediction: Prediction | None = None
  before: "Page | None" = None


def add(page: Page, role: Role, pictures: Iterable[Picture]) -> Page:
  """Adds pictures, and shows the first of them.

  Raises:
    ValueError: The pictures are too many or too large.
  """
  there = _shelf(page, role).pictures
  added, weight = [], _weight([page])
  for picture in pictures:
    added.append(picture)
    weight += picture.weight
    if len(there) + len(added) > MAX_PICTURES or weight > MAX_BYTES:
      raise ValueError(
        f"The page holds at most {MAX_PICTURES} pictures on each side, of "
        f"{MAX_BYTES >> 20} MB in all: add fewer, or remove some first."
      )
  if not added:
    return page
  return _changed(page, role, Shelf((*there, *added), len(there)))


def remove(page: Page, role: Role) -> Page:
  """Removes the picture shown."""
  pictures, shown = _shelf(page, role)
  if not pictures:
    return page
  rest = pictures[:shown] + pictures[shown + 1 :]
  return _changed(page, role, Shelf(rest, max(min(shown, len(rest) - 1), 0)))


def show(page: Page, role: Role, number: int) -> Page:
  """Shows another picture; predictions stay.

  Raises:
    ValueError: There is no picture with this number.
  """
  shelf = _shelf(page, role)
  if number not in range(len(shelf.pictures)):
    raise ValueError(f"There is no {role} picture {number}.")
  shelf = shelf._replace(shown=number)
  return page._replace(**{role: shelf, "corner": None})


def place_keypoint(page: Page, name: str, point: Point) -> Page:
  """Places or moves a keypoint on the support picture shown.

  Raises:
    ValueError: The name is too long.
  """
  picture, name = page.support.current, " ".join(name.split())
  if picture is None:
    return page
  if len(name) > MAX_NAME:
    raise ValueError(
      f"The name of a keypoint has {MAX_NAME} letters at most, not {len(name)}."
    )
  keypoints = {**picture.keypoints, name or next_name(page): point}
  return _with_picture(page, "support", picture._replace(keypoints=keypoints))


def place_corner(page: Page, role: Role, point: Point) -> Page:
  """Places a corner of the box on the picture shown; the second one completes it.

  Raises:
    ValueError: The two corners span no area.
  """
  picture = _shelf(page, role).current
  if picture is None:
    return page
  if page.corner is None or page.corner[0] != role:
    return page._replace(corner=(role, point), before=page)
  ends = np.array([page.corner[1], point]) + 0.5  # boxes count from the pixels' edges
  (x, y), (w, h) = ends.min(0).tolist(), np.ptp(ends, axis=0).tolist()
  if min(w, h) < 1:
    raise ValueError("The box is empty: click two opposite corners of it.")
  found = _with_picture(page, role, picture._replace(box=(x, y, w, h)))
  return found._replace(before=page.before)


def clear(page: Page, role: Role) -> Page:
  """Removes all marks from the picture shown."""
  picture = _shelf(page, role).current
  if picture is None:
    return page
  return _with_picture(page, role, picture._replace(keypoints={}, box=None))


def undo(page: Page) -> Page:
  """Undoes the last change."""
  return page.before or page


def bounded(page: Page) -> Page:
  """Returns the page with its history cut to the limits of length and memory."""
  history, before = [page], page.before
  most = _weight([page]) + MAX_UNDO_BYTES
  while before is not None and len(history) <= MAX_UNDO:
    if _weight([*history, before]) > most:
      break
    history.append(before)
    before = before.before
  if before is None:
    return page
  kept = None
  for one in reversed(history):
    kept = one._replace(before=kept)
  return kept or page


def names(page: Page) -> tuple[str, ...]:
  """Returns the names of all keypoints placed, by first appearance."""
  pictures = page.support.pictures
  return tuple(
    dict.fromkeys(name for picture in pictures for name in picture.keypoints)
  )


def next_name(page: Page, after: str | None = None) -> str:
  """Returns the next name that the support picture shown does not have yet.

  If it has all names, the result is a new name.

  Args:
    page: The page.
    after: The name from which to continue; default: the start of the list.
  """
  known, picture = names(page), page.support.current
  placed = picture.keypoints if picture else {}
  first = known.index(after) + 1 if after in known else 0
  missing = [name for name in known[first:] if name not in placed]
  number = len(known) + 1
  while f"keypoint {number}" in known:
    number += 1
  return missing[0] if missing else f"keypoint {number}"


def predict(page: Page, detector: KeypointDetector) -> Page:
  """Finds the keypoints of the support pictures in all query pictures.

  Raises:
    ValueError: There are no keypoints, or no query pictures.
  """
  order, queries = names(page), page.query.pictures
  if not order:
    raise ValueError("Mark keypoints on a support picture first.")
  if not queries:
    raise ValueError("Add a query picture first.")
  pictures = page.support.pictures
  support = detector.support(
    Opened(pictures),
    [{name: picture.keypoints.get(name) for name in order} for picture in pictures],
    [picture.box for picture in pictures],
  )
  boxes = [query.box for query in queries]
  prediction = detector.predict(support, Opened(queries), boxes)
  return page._replace(prediction=prediction)


def write_prediction(
  page: Page, min_confidence: float, folder: pathlib.Path
) -> pathlib.Path:
  """Writes the files of `fskd predict` into a folder, and returns predictions.json.

  Raises:
    ValueError: There is no prediction.
  """
  if page.prediction is None:
    raise ValueError("Nothing is predicted yet.")
  called = file_names(page.query.pictures)
  with PredictionFiles(folder, page.prediction.names, min_confidence) as files:
    for number, (name, picture) in enumerate(zip(called, page.query.pictures)):
      found = page.prediction.of_image(number)
      files.add(name, picture.size, found, box=picture.box)
  return folder / COCO


def file_names(pictures: Sequence[Picture]) -> list[str]:
  """Returns names for files of results: those of equal names get a folder each.

  A browser sends no folders, so that the second and third picture called a.jpg are
  2/a.jpg and 3/a.jpg.
  """
  counts = collections.Counter(picture.name for picture in pictures)
  return [
    picture.name if counts[picture.name] == 1 else f"{place}/{picture.name}"
    for place, picture in enumerate(pictures, 1)
  ]


def marks(page: Page) -> dict[str, Any]:
  """Returns the support's keypoints and boxes as COCO JSON, for `fskd predict`."""
  order, images, annotations = names(page), [], []
  called = file_names(page.support.pictures)
  for number, (name, picture) in enumerate(zip(called, page.support.pictures), 1):
    width, height = picture.size
    images.append({"id": number, "file_name": name, "width": width, "height": height})
    points = [picture.keypoints.get(name) for name in order]
    triples = [(*point, 2) if point else (0, 0, 0) for point in points]
    annotations.append(
      {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "bbox": [*(picture.box or (0, 0, width, height))],
        "keypoints": [value for triple in triples for value in triple],
      }
    )
  category = {"id": 1, "name": "object", "keypoints": [*order]}
  return {"images": images, "annotations": annotations, "categories": [category]}


def _shelf(page: Page, role: Role) -> Shelf:
  return page.support if role == "support" else page.query


def _weight(pages: Iterable[Page]) -> int:
  """Returns the bytes of all pictures of some pages, shared ones counted once."""
  shown = [p for page in pages for p in (*page.support.pictures, *page.query.pictures)]
  return sum({id(picture.content): picture.weight for picture in shown}.values())


def _changed(page: Page, role: Role, shelf: Shelf) -> Page:
  changes = {role: shelf, "corner": None, "prediction": None, "before": page}
  return page._replace(**changes)


def _with_picture(page: Page, role: Role, picture: Picture) -> Page:
  """Replaces the picture shown by another one."""
  pictures, shown = _shelf(page, role)
  changed = (*pictures[:shown], picture, *pictures[shown + 1 :])
  return _changed(page, role, Shelf(changed, shown))
