"""A COCO keypoint file, read and checked: everything below trusts what it returns.

Plain JSON: no pycocotools. Keys that no one needs (area, num_keypoints, licences)
are ignored, whatever they hold.
"""

import collections
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fskd_jax.wording import raise_if


class CocoFile(NamedTuple):
  """The checked entries of a file, in its order; crowds are left out.

  Attributes:
    images: image id -> entry with file_name, width, height.
    categories: category id -> entry with name, keypoints.
    annotations: entries with id, image_id, category_id, bbox, keypoints.
  """

  images: dict[int, dict]
  categories: dict[int, dict]
  annotations: list[dict]


def load(folder: pathlib.Path) -> CocoFile:
  """Reads and checks folder/annotations.json, and that its images exist.

  Raises:
    FileNotFoundError: the file or one of the images is missing.
    ValueError: the file is no COCO keypoint file; tells the first problems.
  """
  coco = read(folder / "annotations.json")
  _require_images(folder / "images", coco.images.values())
  return coco


def read(path: pathlib.Path) -> CocoFile:
  """Reads and checks a COCO keypoint file, wherever its images are.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is no COCO keypoint file; tells the first problems.
  """
  coco, problems = examine(path)
  raise_if(problems, ValueError, str(path))
  return coco


def examine(path: pathlib.Path) -> tuple[CocoFile, list[str]]:
  """Reads a COCO keypoint file; returns its sound entries, and all that is wrong.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no JSON, or lacks one of the three lists.
  """
  content = parse(path)
  problems: list[str] = []
  images = by_id(content["images"], "image", image_problem, problems)
  categories = by_id(content["categories"], "category", _category_problem, problems)
  annotations = by_id(content["annotations"], "annotation", _no_problem, problems)
  problems += _repetitions("category name", (c["name"] for c in categories.values()))
  problems += _repetitions("image file_name", (i["file_name"] for i in images.values()))
  sound = []
  for entry in annotations.values():
    if entry.get("iscrowd"):
      continue
    problem = _annotation_problem(entry, images, categories)
    if problem:
      problems.append(f"annotation {entry['id']}: {problem}")
    else:
      sound.append(entry)
  return CocoFile(images, categories, sound), problems


def skeleton(category: dict) -> tuple[tuple[str, str], ...]:
  """Returns a category's skeleton by names; COCO counts from 1, some files from 0."""
  pairs = category.get("skeleton") or []
  first = 0 if any(0 in pair for pair in pairs) else 1
  names = category["keypoints"]
  return tuple((names[a - first], names[b - first]) for a, b in pairs)


def parse(path: pathlib.Path) -> dict[str, list[dict]]:
  """Reads the three lists of a COCO file; their entries are not looked at.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no JSON, or lacks one of the three lists.
  """
  if not path.is_file():
    raise FileNotFoundError(
      f"no file {path}; expected a folder with annotations.json (COCO keypoints) and"
      " images/"
    )
  content = read_json(path)
  for key in ("images", "annotations", "categories"):
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list) or not all(isinstance(e, dict) for e in value):
      raise ValueError(
        f"{path}: {key!r} is missing or not a list of objects; a COCO file has images,"
        " annotations and categories"
      )
  return content


def read_json(path: pathlib.Path) -> Any:
  """Parses a JSON file.

  Raises:
    ValueError: it is none.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path}: not valid JSON: {error}") from error


def by_id(
  entries: list[dict],
  kind: str,
  problem_of: Callable[[dict], str | None],
  problems: list[str],
) -> dict[int, dict]:
  """Returns the sound entries by id, and appends what is wrong with the others."""
  found: dict[int, dict] = {}
  for place, entry in enumerate(entries):
    number: Any = entry.get("id")
    if not _is_integer(number):
      problems.append(f"{kind} at place {place}: id is {number!r}, expected an integer")
    elif number in found:
      problems.append(f"{kind} {number}: this id occurs more than once")
    elif problem := problem_of(entry):
      problems.append(f"{kind} {number}: {problem}")
    else:
      found[number] = entry
  return found


def _no_problem(entry: dict) -> None:
  """Annotations are checked later, when images and categories are known."""


def image_problem(entry: dict) -> str | None:
  """Says what is wrong with an entry of "images"."""
  name = entry.get("file_name")
  if not isinstance(name, str) or not name:
    return f"file_name is {name!r}, expected a file below images/"
  for key in ("width", "height"):
    if not _is_integer(entry.get(key)) or entry[key] < 1:
      return f"{key} is {entry.get(key)!r}, expected a number of pixels"
  return None


def _category_problem(entry: dict) -> str | None:
  name, keypoints = entry.get("name"), entry.get("keypoints")
  if not isinstance(name, str) or not name:
    return f"name is {name!r}, expected a text"
  if not isinstance(keypoints, list) or not keypoints or not _are_names(keypoints):
    return f"keypoints is {keypoints!r}, expected a list of different names"
  skeleton = entry.get("skeleton") or []
  for pair in skeleton if isinstance(skeleton, list) else [skeleton]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_integer, pair)):
      return f"skeleton holds {pair!r}, expected pairs of keypoint numbers"
    if not all(0 <= number <= len(keypoints) for number in pair):
      return f"skeleton holds {pair!r}, but there are {len(keypoints)} keypoints"
  return None


def _annotation_problem(
  entry: dict, images: dict[int, dict], categories: dict[int, dict]
) -> str | None:
  for key, known in (("image_id", images), ("category_id", categories)):
    if not _is_integer(entry.get(key)) or entry[key] not in known:
      return f"{key} is {entry.get(key)!r}, which is not in the file"
  image, category = images[entry["image_id"]], categories[entry["category_id"]]
  problem = _box_problem(entry.get("bbox"), image) or _keypoint_problem(
    entry.get("keypoints"), category
  )
  return problem and f"image {image['file_name']!r}: {problem}"


def _box_problem(box: Any, image: dict) -> str | None:
  if not isinstance(box, list) or len(box) != 4 or not are_finite(box):
    return f"bbox is {box!r}, expected 4 finite numbers (x, y, width, height)"
  x, y, w, h = box
  if w <= 0 or h <= 0:
    return f"bbox is {box}, expected a width and height above 0"
  width, height = image["width"], image["height"]
  if x >= width or y >= height or x + w <= 0 or y + h <= 0:
    return f"bbox is {box}, wholly outside the image of {width} x {height} pixels"
  return None


def _keypoint_problem(values: Any, category: dict) -> str | None:
  names = category["keypoints"]
  if not isinstance(values, list) or len(values) != 3 * len(names):
    came = f"{len(values)} values" if isinstance(values, list) else repr(values)
    return (
      f"keypoints is {came}, expected {3 * len(names)}: x, y, visibility of the"
      f" {len(names)} keypoints of category {category['name']!r}"
    )
  for name, triple in zip(names, zip(*[iter(values)] * 3)):
    if not are_finite(triple):
      return f"keypoint {name!r} is {list(triple)}, expected finite numbers"
    if triple[2] not in (0, 1, 2):
      return f"keypoint {name!r} has visibility {triple[2]}, expected 0, 1 or 2"
  return None


def _require_images(folder: pathlib.Path, entries: Iterable[dict]) -> None:
  names = [entry["file_name"] for entry in entries]
  missing = [name for name in names if not (folder / name).is_file()]
  what = f"{len(missing)} of {len(names)} images are not in {folder}"
  raise_if(missing, FileNotFoundError, what)


def _repetitions(kind: str, names: Iterable[str]) -> Iterator[str]:
  for name, count in collections.Counter(names).items():
    if count > 1:
      yield f"{kind} {name!r} occurs {count} times"


def _are_names(values: list) -> bool:
  return all(isinstance(v, str) and v for v in values) and len(set(values)) == len(
    values
  )


def _is_integer(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def are_finite(values: Iterable[Any]) -> bool:
  """Says whether all are numbers that float32 holds."""
  # nan fails every comparison.
  return all(
    isinstance(v, (int, float)) and not isinstance(v, bool) and -1e9 < v < 1e9
    for v in values
  )
