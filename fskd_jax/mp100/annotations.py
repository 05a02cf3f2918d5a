"""Objects of an MP-100 annotation file, filtered and cleaned as the reference does.

A file of MP-100 is trusted less than `coco_file` trusts its own: it may hold objects
without a box or keypoints, which are left out, not refused.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

MAX_KEYPOINTS = 100


class MP100Object(NamedTuple):
  """One annotated object.

  Attributes:
    object_id: annotation id.
    image: file, below the folder of images.
    box: (x, y, w, h), clipped to the image and one pixel short in w and h.
    keypoints: pixels of the image.
    visible: v above 0; occluded ones (v = 1) count as visible.
  """

  object_id: int
  image: str
  box: tuple[float, float, float, float]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]


class MP100File(NamedTuple):
  """An annotation file.

  Attributes:
    categories: name -> its objects, categories in the order of the file, objects in
      that of its images.
    keypoint_names: of each category; numbers where the file has none.
    objects: how many there are before images are looked for.
    missing: images named by objects that are not in the folder.
  """

  categories: dict[str, tuple[MP100Object, ...]]
  keypoint_names: dict[str, tuple[str, ...]]
  objects: int
  missing: tuple[str, ...]


def read(
  path: pathlib.Path, images: pathlib.Path, *, allow_missing: bool = False
) -> MP100File:
  """Reads a file, such as mp100_split1_test.json.

  Args:
    path: of the file.
    images: folder that its file_name lead from: the data set's root, or images/ in it.
    allow_missing: leave objects out whose image is not there. One object less shifts
      all later draws, so the pairs are not those of the protocol any more.

  Raises:
    FileNotFoundError: the file, or an image, is missing.
    ValueError: it is no MP-100 file.
  """
  content = _parse(path)
  root = image_root(images)
  by_image: dict[Any, list[dict]] = {}
  for entry in content["annotations"]:
    by_image.setdefault(entry["image_id"], []).append(entry)
  names = {x["id"]: x["name"] for x in content["categories"]}
  found: dict[str, list[MP100Object]] = {name: [] for name in names.values()}
  keypoint_names = {
    x["name"]: tuple(x.get("keypoints", ())) for x in content["categories"]
  }
  missing, total = {}, 0
  for image in content["images"]:
    for entry in by_image.get(image["id"], ()):
      cleaned = _clean(entry, image)
      if cleaned is None:
        continue
      total += 1
      if image["file_name"] not in missing:
        missing[image["file_name"]] = not (root / image["file_name"]).is_file()
      if not missing[image["file_name"]]:
        found[names[entry["category_id"]]].append(cleaned)
  lost = tuple(name for name, is_missing in missing.items() if is_missing)
  if lost and not allow_missing:
    shown = ", ".join(lost[:5])
    raise FileNotFoundError(
      f"{len(lost)} of {len(missing)} images are not in {root}: {shown} ..; every lost "
      "image changes all later pairs. To score what is there, ask for coverage"
    )
  categories = {name: tuple(objects) for name, objects in found.items() if objects}
  return MP100File(categories, keypoint_names, total, lost)


def image_root(images: pathlib.Path) -> pathlib.Path:
  """Returns the folder that file_name lead from: images/ below, where it is there."""
  return images / "images" if (images / "images").is_dir() else images


def _parse(path: pathlib.Path) -> dict[str, list[dict]]:
  if not path.is_file():
    raise FileNotFoundError(f"there is no MP-100 annotation file {path}")
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path}: not valid JSON: {error}") from error
  for key in ("images", "annotations", "categories"):
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
      raise ValueError(f"{path}: {key!r} is missing or no list; expected a COCO file")
  known = (
    {x.get("id") for x in content["images"]},
    {x.get("id") for x in content["categories"]},
  )
  for entry in content["annotations"]:
    for key, ids in zip(("image_id", "category_id"), known):
      if entry.get(key) not in ids:
        raise ValueError(
          f"{path}: annotation {entry.get('id')!r}: {key} is {entry.get(key)!r}, which "
          "is not in the file"
        )
  return content


def _clean(entry: Mapping[str, Any], image: Mapping[str, Any]) -> MP100Object | None:
  """Returns the object, or None if the reference leaves it out."""
  values = entry.get("keypoints") or []
  box = entry.get("bbox") or []
  if entry.get("iscrowd") or not values or max(values) == 0 or len(box) != 4:
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
  if len(triples) > MAX_KEYPOINTS:
    raise ValueError(
      f"annotation {entry['id']} has {len(triples)} keypoints, expected at most "
      f"{MAX_KEYPOINTS}"
    )
  return MP100Object(
    object_id=entry["id"],
    image=image["file_name"],
    box=(left, top, right - left, bottom - top),
    keypoints=triples[:, :2],
    visible=triples[:, 2] > 0,
  )
