"""Reads annotation files of MP-100, filtered and cleaned as its reference code does.

These files may hold objects without a box or keypoints, which are left out; `coco_file`
would refuse them. Source: docs/data.md#mp-100.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fskd_jax.data import coco_file, images
from fskd_jax.data.published.release import Animal, Release
from fskd_jax.data.published.schema import Published
from fskd_jax.messages import naming, raise_if

MAX_KEYPOINTS = 100
"""Largest number of keypoints of an object; the reference pads all objects to it."""


class MP100Object(NamedTuple):
  """One annotated object.

  Attributes:
    object_id: The id of the annotation.
    image: The file name, below the folder of images.
    image_size: (width, height) by the annotations.
    box: (x, y, w, h), clipped to the image and one pixel short in w and h.
    keypoints: (x, y) in pixels of the image.
    visible: Whether v is above 0; occluded keypoints (v = 1) count as visible.
  """

  object_id: int
  image: str
  image_size: tuple[int, int]
  box: tuple[float, float, float, float]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]


class MP100File(NamedTuple):
  """An annotation file.

  Attributes:
    categories: The objects of each category: categories in the order of the file,
      objects in that of its images. Categories without an object are left out.
    keypoint_names: The keypoint names of each category.
    parents: The parent (supercategory) of each category.
  """

  categories: dict[str, tuple[MP100Object, ...]]
  keypoint_names: dict[str, tuple[str, ...]]
  parents: dict[str, str]

  def objects(self) -> Iterable[MP100Object]:
    """Returns the objects of all categories."""
    return (x for objects in self.categories.values() for x in objects)

  def without(self, lost: Iterable[str]) -> "MP100File":
    """Returns the file without the objects of some images."""
    lost = {*lost}
    kept = {
      name: tuple(x for x in objects if x.image not in lost)
      for name, objects in self.categories.items()
    }
    return self._replace(
      categories={name: found for name, found in kept.items() if found}
    )


def read(path: pathlib.Path) -> MP100File:
  """Reads a file, such as mp100_split1_test.json, without its images.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file has a fault; the message names file, entry and field.
  """
  if not path.is_file():
    raise FileNotFoundError(f"there is no MP-100 annotation file {path}")
  content = coco_file.parse(path)
  with naming(path):
    return _read(content, path)


def _read(content: dict[str, list[dict]], path: pathlib.Path) -> MP100File:
  problems: list[str] = []
  known = coco_file.by_id(content["images"], "image", coco_file.image_problem, problems)
  categories = coco_file.by_id(
    content["categories"], "category", _category_problem, problems
  )
  by_image: dict[Any, list[dict]] = {}
  for entry in content["annotations"]:
    problem = _annotation_problem(entry, known, categories)
    if problem:
      problems.append(f"annotation {entry.get('id')!r}: {problem}")
    by_image.setdefault(entry.get("image_id"), []).append(entry)
  names = [x["name"] for x in categories.values()]
  repeated = sorted({name for name in names if names.count(name) > 1})
  problems += [f"category name {name!r} occurs more than once" for name in repeated]
  raise_if(problems, ValueError, str(path))
  found: dict[str, list[MP100Object]] = {name: [] for name in names}
  for image in known.values():
    for entry in by_image.get(image["id"], ()):
      if cleaned := _clean(entry, image):
        found[categories[entry["category_id"]]["name"]].append(cleaned)
  return MP100File(
    categories={name: tuple(objects) for name, objects in found.items() if objects},
    keypoint_names={x["name"]: tuple(x["keypoints"]) for x in categories.values()},
    parents={
      x["name"]: str(x.get("supercategory") or x["name"]) for x in categories.values()
    },
  )


def release(
  published: Published, folder: pathlib.Path, paths: Mapping[str, pathlib.Path]
) -> Release:
  """Merges the files of a split, for training.

  Boxes are the cleaned ones, as in the training of the reference. Keypoints keep their
  number in the category, up to `MAX_KEYPOINTS`.

  Args:
    published: The facts of the split.
    folder: The folder of the images.
    paths: The files for "train", "validation" and "unseen".

  Raises:
    ValueError: A file has a fault, or a category is in two files.
  """
  sizes, animals, parents, splits = {}, [], {}, {}
  for split, path in paths.items():
    file = read(path)
    both = sorted(parents.keys() & file.categories.keys())
    if both:
      raise ValueError(f"{path}: categories of {published.title} in two files: {both}")
    splits[split] = tuple(file.categories)
    parents |= {name: file.parents[name] for name in file.categories}
    for name, objects in file.categories.items():
      for found in objects:
        sizes[found.image] = found.image_size
        animals.append(Animal(found.image, name, [*found.box], _numbered(found)))
  return Release(folder, sizes, animals, parents, splits)


def _numbered(found: MP100Object) -> list[float]:
  triples = np.zeros((MAX_KEYPOINTS, 3))
  triples[: len(found.visible)] = np.c_[found.keypoints, 2 * found.visible]
  return triples.ravel().tolist()


def image_root(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder that file names are relative to: images/ below, if it exists."""
  return folder / "images" if (folder / "images").is_dir() else folder


def lost_images(file: MP100File, root: pathlib.Path) -> dict[str, str]:
  """Returns the problems of the images of a file's objects; reads only their headers.

  Args:
    file: A file, as returned by `read`.
    root: The folder of its images, as returned by `image_root`.

  Returns:
    By file name "missing", "unreadable", or a sentence on the size if that differs from
    the annotated one, after rotation by EXIF.
  """
  sizes = {x.image: x.image_size for x in file.objects()}
  found = {name: _image_problem(root / name, size) for name, size in sizes.items()}
  return {name: problem for name, problem in found.items() if problem}


def _image_problem(path: pathlib.Path, expected: tuple[int, int]) -> str | None:
  if not path.is_file():
    return "missing"
  try:
    with images.opened(path, str(path)) as image:
      width, height = images.shown_size(image)
  except images.ImageError:
    return "unreadable"
  if (width, height) == expected:
    return None
  return f"{width} x {height} pixels, annotated as {expected[0]} x {expected[1]}"


def _category_problem(entry: Mapping[str, Any]) -> str | None:
  name, keypoints = entry.get("name"), entry.get("keypoints")
  if not isinstance(name, str) or not name:
    return f"name is {name!r}, expected a text"
  if not isinstance(keypoints, list) or not 0 < len(keypoints) <= MAX_KEYPOINTS:
    return f"keypoints is {keypoints!r}, expected 1 to {MAX_KEYPOINTS} names"
  return None


def _annotation_problem(
  entry: Mapping[str, Any], known: Mapping[int, Any], categories: Mapping[int, Any]
) -> str | None:
  if not isinstance(entry.get("id"), int):
    return f"id is {entry.get('id')!r}, expected an integer"
  for key, ids in (("image_id", known), ("category_id", categories)):
    if not isinstance(entry.get(key), int) or entry[key] not in ids:
      return f"{key} is {entry.get(key)!r}, which is not in the file"
  category = categories[entry["category_id"]]
  counts = {"bbox": 4, "keypoints": 3 * len(category["keypoints"])}
  for key, count in counts.items():
    values = entry.get(key)
    if not values:  # such an object is left out
      continue
    if not isinstance(values, list) or len(values) != count:
      came = f"{len(values)} values" if isinstance(values, list) else repr(values)
      return f"{key} is {came}, expected {count} of category {category['name']!r}"
    if not coco_file.are_finite(values):
      return f"{key} holds something else than finite numbers"
  for key in ("area", "num_keypoints"):
    if not coco_file.are_finite([entry.get(key, 1)]):
      return f"{key} is {entry[key]!r}, expected a number"
  return None


def _clean(entry: Mapping[str, Any], image: Mapping[str, Any]) -> MP100Object | None:
  """Returns the object, or None if the reference leaves it out."""
  values, box = entry.get("keypoints"), entry.get("bbox")
  if entry.get("iscrowd") or not values or max(values) == 0 or not box:
    return None
  if entry.get("num_keypoints") == 0 or entry.get("area", 1) <= 0:
    return None
  x, y, w, h = box
  left, top = max(0, x), max(0, y)
  right = min(image["width"] - 1, left + max(0, w - 1))
  bottom = min(image["height"] - 1, top + max(0, h - 1))
  if right <= left or bottom <= top:
    return None
  triples = np.asarray(values, np.float64).reshape(-1, 3)
  return MP100Object(
    object_id=entry["id"],
    image=image["file_name"],
    image_size=(image["width"], image["height"]),
    box=(left, top, right - left, bottom - top),
    keypoints=triples[:, :2],
    visible=triples[:, 2] > 0,
  )
