"""Reads and checks COCO keypoint files; other modules rely on these checks.

The files are read as plain JSON, without pycocotools. Keys that are not needed (area,
num_keypoints, licences) are ignored, whatever they hold. What tools write in different
ways is brought into one form first (`coco_variants`).
"""

import collections
import logging
import pathlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fskd_jax.data import coco_variants, names
from fskd_jax.data import images as image_files
from fskd_jax.files import read_json
from fskd_jax.messages import join_first, naming, printable, raise_if, shown

_log = logging.getLogger(__name__)


class CocoFile(NamedTuple):
  """The checked entries of a file, in its order; crowds are left out.

  Attributes:
    images: Entries with file_name, width, height, by image id.
    categories: Entries with name, keypoints, by category id.
    annotations: Entries with id, image_id, category_id, bbox, keypoints.
    notes: What was left out or made to bring the file into this form.
  """

  images: dict[int, dict]
  categories: dict[int, dict]
  annotations: list[dict]
  notes: tuple[str, ...] = ()


def load(folder: pathlib.Path) -> CocoFile:
  """Reads and checks folder/annotations.json, and looks for its images.

  Images that are not there are left out with what is labelled in them, and counted in
  one warning.

  Raises:
    FileNotFoundError: The file or all of its images are missing.
    ValueError: The file is not a COCO keypoint file; the message lists the first
      problems.
  """
  coco = read(folder / "annotations.json")
  return _with_images(coco, folder / "images")


def read(path: pathlib.Path, *, strict: bool = False) -> CocoFile:
  """Reads and checks a COCO keypoint file; its images may be anywhere.

  Args:
    path: The file.
    strict: Whether what had to be left out or made is an error, not a warning.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file is not a COCO keypoint file; the message lists the first
      problems.
  """
  coco, problems = examine(path)
  raise_if(problems + [*coco.notes] * strict, ValueError, str(path))
  for note in coco.notes:
    _log.warning("%s: %s", printable(str(path)), note)
  return coco


def examine(path: pathlib.Path) -> tuple[CocoFile, list[str]]:
  """Reads a COCO keypoint file; returns its valid entries and a list of all problems.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file is not JSON, or lacks one of the three lists.
  """
  found = standard(path)
  with naming(path):
    return of_entries(found)


def standard(path: pathlib.Path) -> coco_variants.Standard:
  """Reads a COCO file in one form (`coco_variants`), crowds included, without checks.

  Raises:
    FileNotFoundError, ValueError: As for `parse`.
  """
  content = parse(path)
  with naming(path):
    return coco_variants.standard(content, lambda name: _stored_size(path, name))


def _stored_size(path: pathlib.Path, name: str) -> tuple[int, int] | None:
  """Returns the size of an image beside a file, or in images/ there or one above."""
  folder = path.absolute().parent
  for root in (folder, folder / "images", folder.parent / "images", folder.parent):
    if (root / name).is_file():
      with image_files.opened(root / name, str(root / name)) as image:
        return image_files.shown_size(image)
  return None


def of_entries(found: coco_variants.Standard) -> tuple[CocoFile, list[str]]:
  """Checks entries in one form; returns the valid ones and a list of all problems."""
  problems: list[str] = []
  images = by_id(found.images, "image", image_problem, problems)
  categories = by_id(found.categories, "category", _category_problem, problems)
  listed = [_known_ids(entries) for entries in (found.images, found.categories)]
  annotations = by_id(found.annotations, "annotation", lambda entry: None, problems)
  problems += _repetitions("category name", (c["name"] for c in categories.values()))
  problems += _repetitions("image file_name", (i["file_name"] for i in images.values()))
  sound = []
  for entry in annotations.values():
    if entry.get("iscrowd"):
      continue
    problem = _annotation_problem(entry, images, categories, listed)
    if problem is None:
      sound.append(entry)
    elif problem:
      problems.append(f"annotation {entry['id']}: {problem}")
  return CocoFile(images, categories, sound, tuple(found.notes)), problems


def _known_ids(entries: Iterable[dict]) -> set[int]:
  return {entry["id"] for entry in entries if is_integer(entry.get("id"))}


def skeleton(category: dict) -> tuple[tuple[str, str], ...]:
  """Returns a category's skeleton as pairs of names; some files count from 0, not 1."""
  pairs = category.get("skeleton") or []
  first = 0 if any(0 in pair for pair in pairs) else 1
  names = category["keypoints"]
  return tuple((names[a - first], names[b - first]) for a, b in pairs)


def parse(path: pathlib.Path) -> dict[str, list[dict]]:
  """Reads the three lists of a COCO file without checking their entries.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file is not JSON, or lacks one of the three lists.
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


def by_id(
  entries: list[dict],
  kind: str,
  problem_of: Callable[[dict], str | None],
  problems: list[str],
) -> dict[int, dict]:
  """Returns the valid entries by id, and appends the problems of the others."""
  found: dict[int, dict] = {}
  for place, entry in enumerate(entries):
    number: Any = entry.get("id")
    if not is_integer(number):
      problems.append(
        f"{kind} at place {place}: id is {shown(number)}, expected an integer"
      )
    elif number in found:
      problems.append(f"{kind} {number}: this id occurs more than once")
    elif problem := problem_of(entry):
      problems.append(f"{kind} {number}: {problem}")
    else:
      found[number] = entry
  return found


def image_problem(entry: dict) -> str | None:
  """Returns the problem of an entry of "images", or None."""
  problem = names.file_problem(entry.get("file_name"))
  if problem:
    return f"file_name {problem}"
  for key in ("width", "height"):
    if not is_integer(entry.get(key)) or not 0 < entry[key] < 1e9:
      return f"{key} is {shown(entry.get(key))}, expected a number of pixels"
  return None


def _category_problem(entry: dict) -> str | None:
  name, keypoints = entry.get("name"), entry.get("keypoints")
  if problem := names.name_problem(name):
    return f"name {problem}"
  if not isinstance(keypoints, list) or not keypoints:
    return f"keypoints is {shown(keypoints)}, expected a list of different names"
  for keypoint in keypoints:
    if problem := names.name_problem(keypoint):
      return f"a name in keypoints {problem}"
  if len({*keypoints}) < len(keypoints):
    return f"keypoints is {shown(keypoints)}, expected a list of different names"
  return None


def _annotation_problem(
  entry: dict,
  images: dict[int, dict],
  categories: dict[int, dict],
  listed: Sequence[Container[int]],
) -> str | None:
  """Returns the problem of an annotation; "" if its image or category has one."""
  for key, known, told in zip(
    ("image_id", "category_id"), (images, categories), listed
  ):
    number: Any = entry.get(key)
    if not is_integer(number) or number not in known:
      if is_integer(number) and number in told:
        return ""
      return f"{key} is {shown(number)}, which is not in the file"
  image, category = images[entry["image_id"]], categories[entry["category_id"]]
  problem = _box_problem(entry.get("bbox"), image) or _keypoint_problem(
    entry.get("keypoints"), category
  )
  return problem and f"image {image['file_name']!r}: {problem}"


def _box_problem(box: Any, image: dict) -> str | None:
  if not isinstance(box, list) or len(box) != 4 or not are_finite(box):
    return f"bbox is {shown(box)}, expected 4 finite numbers (x, y, width, height)"
  x, y, w, h = box
  if w <= 0 or h <= 0:
    return f"bbox is {box}, expected a width and height above 0"
  width, height = image["width"], image["height"]
  if x >= width or y >= height or x + w <= 0 or y + h <= 0:
    return f"bbox is {box}, wholly outside the image of {width} x {height} pixels"
  return None


def _keypoint_problem(values: Any, category: dict) -> str | None:
  listed = category["keypoints"]
  if not isinstance(values, list) or len(values) != 3 * len(listed):
    came = f"{len(values)} values" if isinstance(values, list) else shown(values)
    return (
      f"keypoints is {came}, expected {3 * len(listed)}: x, y, visibility of the"
      f" {len(listed)} keypoints of category {category['name']!r}"
    )
  for name, triple in zip(listed, zip(*[iter(values)] * 3)):
    if not are_finite(triple):
      return f"keypoint {name!r} is {shown([*triple])}, expected finite numbers"
    if triple[2] not in (0, 1, 2):
      return f"keypoint {name!r} has visibility {triple[2]}, expected 0, 1 or 2"
  return None


def _with_images(coco: CocoFile, folder: pathlib.Path) -> CocoFile:
  there, missing = {}, {}
  for number, entry in coco.images.items():
    is_there = (folder / entry["file_name"]).is_file()
    (there if is_there else missing)[number] = entry
  lost = [entry["file_name"] for entry in missing.values()]
  what = f"{len(missing)} of {len(coco.images)} images are not in {folder}"
  if not there:
    raise_if(lost, FileNotFoundError, what)
  outside = names.outside(folder, [entry["file_name"] for entry in there.values()])
  led = f"{len(outside)} of {len(there)} images are links that lead out of {folder}"
  raise_if(outside, ValueError, f"{led}; copy the files there")
  kept = [entry for entry in coco.annotations if entry["image_id"] in there]
  if missing:
    _log.warning(
      "%s; left out with %d annotations: %s",
      what, len(coco.annotations) - len(kept), join_first(lost),
    )  # fmt: skip
  return coco._replace(images=there, annotations=kept)


def _repetitions(kind: str, values: Iterable[str]) -> Iterator[str]:
  for name, count in collections.Counter(values).items():
    if count > 1:
      yield f"{kind} {name!r} occurs {count} times"


def is_integer(value: Any) -> bool:
  """Returns whether a JSON value is a whole number."""
  return isinstance(value, int) and not isinstance(value, bool)


def are_finite(values: Iterable[Any]) -> bool:
  """Returns whether all values are numbers in the range of float32."""
  # nan fails every comparison.
  return all(
    isinstance(v, (int, float)) and not isinstance(v, bool) and -1e9 < v < 1e9
    for v in values
  )
