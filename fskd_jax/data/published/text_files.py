"""Reads the text files of the original releases of CUB-200-2011 and NABirds.

Source: the README of CUB_200_2011. NABirds has the same layout and adds a tree of
classes.
"""

import math
import pathlib
from collections.abc import Iterator

from fskd_jax.data.published.release import Animal, Release
from fskd_jax.data.published.schema import Published

_FILES = (
  *("images.txt", "image_class_labels.txt", "classes.txt", "bounding_boxes.txt"),
  *("parts/parts.txt", "parts/part_locs.txt"),
)


def read(published: Published, source: pathlib.Path) -> Release:
  """Reads the tables.

  Raises:
    FileNotFoundError: Files or the folder of the images are missing; the message names
      all.
    ValueError: A line has the wrong number of columns, a class or part is unknown, or
      an image has no class, box or part.
  """
  wanted = (*_FILES, *(("hierarchy.txt",) if published.has_hierarchy else ()))
  missing = [name for name in wanted if not (source / name).is_file()]
  missing += [] if (source / "images").is_dir() else ["images/"]
  if missing:
    names = ", ".join(missing)
    raise FileNotFoundError(f"{source}: missing files of {published.title}: {names}")
  images = _table(source / "images.txt", 2)
  labels = _table(source / "image_class_labels.txt", 2)
  classes = _table(source / "classes.txt", 2)
  boxes = _table(source / "bounding_boxes.txt", 5)
  keypoints = _keypoints(published, source, images)
  for image, (file_name,) in images.items():
    lacks = [
      what
      for what, table in (("class", labels), ("box", boxes), ("parts", keypoints))
      if image not in table
    ]
    if lacks:
      raise ValueError(f"{source}: image {file_name!r} has no {' and no '.join(lacks)}")
  of_image = {image: labels[image][0] for image in images}
  unknown = sorted({label for label in of_image.values() if label not in classes})
  if unknown:
    raise ValueError(
      f"{source / 'image_class_labels.txt'}: unknown classes {unknown[:5]}; classes.txt"
      f" has {len(classes)} others"
    )
  names = _names(source, classes, {*of_image.values()})
  animals = [
    Animal(
      file_name,
      names[of_image[image]],
      _numbers(source / "bounding_boxes.txt", boxes[image]),
      keypoints[image],
    )
    for image, (file_name,) in images.items()
  ]
  return Release(
    image_folder=source / "images",
    sizes={file_name: None for (file_name,) in images.values()},
    animals=animals,
    parents=_parents(published, source, classes, names),
    splits=_splits(published, tuple(names.values())),
  )


def _rows(path: pathlib.Path, columns: int) -> Iterator[list[str]]:
  """Yields the columns of every line; the last one may hold blanks."""
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
    row = line.strip().split(maxsplit=columns - 1)
    if len(row) == columns:
      yield row
    elif row:
      raise ValueError(f"{path}: line {number} is {line!r}, expected {columns} columns")


def _table(path: pathlib.Path, columns: int) -> dict[str, list[str]]:
  """Returns the other columns of every line by its first column."""
  table: dict[str, list[str]] = {}
  for key, *values in _rows(path, columns):
    if key in table:
      raise ValueError(f"{path}: {key} occurs more than once")
    table[key] = values
  return table


def _numbers(path: pathlib.Path, texts: list[str]) -> list[float]:
  try:
    numbers = [float(text) for text in " ".join(texts).split()]
  except ValueError:
    numbers = []
  if len(numbers) != len(texts) or not all(map(math.isfinite, numbers)):
    raise ValueError(f"{path}: {texts}, expected {len(texts)} numbers")
  return numbers


def _keypoints(
  published: Published, source: pathlib.Path, images: dict[str, list[str]]
) -> dict[str, list[float]]:
  """Returns the flat keypoints of every image that has a part."""
  path = source / "parts" / "parts.txt"
  parts = _table(path, 2)
  found = tuple(name for (name,) in parts.values())
  if found != published.keypoint_names:
    raise ValueError(
      f"{path}: the parts are {list(found)}, expected those of {published.title} in"
      f" order: {list(published.keypoint_names)}"
    )
  place = {part: number for number, part in enumerate(parts)}
  path = source / "parts" / "part_locs.txt"
  keypoints: dict[str, list[float]] = {}
  for image, part, *values in _rows(path, 5):
    if image not in images or part not in place:
      raise ValueError(f"{path}: unknown image or part: {image} {part}")
    x, y, visible = _numbers(path, values)
    flat = keypoints.setdefault(image, [0.0] * (3 * len(parts)))
    if visible:
      flat[3 * place[part] : 3 * place[part] + 3] = [x, y, 2]
  return keypoints


def _names(
  source: pathlib.Path, classes: dict[str, list[str]], used: set[str]
) -> dict[str, str]:
  """Returns the names of the classes that images have, by ascending number.

  A name that two classes share gets the number appended.
  """
  path = source / "classes.txt"
  numbers = sorted(used, key=lambda number: _numbers(path, [number]))
  names = [classes[number][0] for number in numbers]
  return {
    number: name if names.count(name) == 1 else f"{name} ({number})"
    for number, name in zip(numbers, names)
  }


def _parents(
  published: Published,
  source: pathlib.Path,
  classes: dict[str, list[str]],
  names: dict[str, str],
) -> dict[str, str]:
  if not published.has_hierarchy:
    return {name: "bird" for name in names.values()}
  path = source / "hierarchy.txt"
  tree = _table(path, 2)
  lost = [n for n in names if n not in tree or tree[n][0] not in classes]
  if lost:
    raise ValueError(f"{path}: classes {lost[:5]} have no parent in classes.txt")
  return {name: classes[tree[number][0]][0] for number, name in names.items()}


def _splits(
  published: Published, species: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
  """Returns the species of each split by the rule of the data set.

  Source: docs/algorithm.md#data-sets.
  """
  rule = published.rule
  if rule is None:
    raise ValueError(f"{published.name} has no rule for the species of text files")
  places = [place % rule.modulus for place in range(len(species))]
  fixed = {"validation": rule.validation, "unseen": rule.unseen}
  held = {*rule.validation, *rule.unseen}
  train = tuple(name for name, place in zip(species, places) if place not in held)
  return {"train": train} | {
    split: tuple(name for name, place in zip(species, places) if place in mine)
    for split, mine in fixed.items()
  }
