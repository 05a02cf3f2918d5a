"""Reads and writes COCO keypoints, the format that training reads (`coco_file`)."""

import pathlib
from collections.abc import Sequence
from typing import Any

from fskd_jax.data import coco_file
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.files import write_json

DECIMALS = 4
"""Decimals of written coordinates, which are pixels."""


def read(path: pathlib.Path, *, all_visible: bool = False) -> Labels:
  """Reads a file without its crowds.

  Args:
    path: The file.
    all_visible: Whether keypoints with v = 0 are visible if they are not at (0, 0),
      because a tool wrote no visibility.

  Raises:
    ValueError: The file is not a COCO keypoint file; the message lists the first
      problems.
  """
  coco = coco_file.read(path)
  objects: dict[int, list[LabelledObject]] = {number: [] for number in coco.images}
  for entry in coco.annotations:
    category = coco.categories[entry["category_id"]]
    triples = zip(*[iter(entry["keypoints"])] * 3)
    confidences = _confidences(entry, len(category["keypoints"]), path)
    keypoints = {
      name: Keypoint(float(x), float(y), v == 1, sure)
      for name, (x, y, v), sure in zip(category["keypoints"], triples, confidences)
      if v or sure is not None or (all_visible and (x or y))
    }
    x, y, w, h = map(float, entry["bbox"])
    found = LabelledObject(keypoints, category["name"], (x, y, w, h))
    objects[entry["image_id"]].append(found)
  images = tuple(
    LabelledImage(
      entry["file_name"], (entry["width"], entry["height"]), tuple(objects[number])
    )
    for number, entry in coco.images.items()
  )
  categories = {
    entry["name"]: Category(tuple(entry["keypoints"]), coco_file.skeleton(entry))
    for entry in coco.categories.values()
  }
  return Labels(images, categories)


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a file, and reads it back to check that training will accept it."""
  write_json(unfinished, content(labels), indent=None)
  coco_file.read(unfinished)


def content(labels: Labels) -> dict[str, list[dict[str, Any]]]:
  """Returns the content of a file of labels; annotations are numbered in their order.

  Keypoints that a machine placed keep their coordinates, with their confidence under
  "confidences". Those of too little confidence have v = 0, so that nothing trains on
  them.
  """
  number = {species: i for i, species in enumerate(labels.categories, 1)}
  images, annotations = [], []
  for image_id, image in enumerate(labels.images, 1):
    assert image.size
    width, height = image.size
    images.append(
      {"id": image_id, "file_name": image.name, "width": width, "height": height}
    )
    for found in image.objects:
      entry = {
        "id": len(annotations) + 1,
        "image_id": image_id,
        "category_id": number[found.species],
      }
      annotations.append(entry | _annotation(found, labels))
  categories = [
    {
      "id": number[species],
      "name": species,
      "keypoints": [*category.keypoints],
      "skeleton": [
        [category.keypoints.index(name) + 1 for name in pair]
        for pair in category.skeleton
      ],
    }
    for species, category in labels.categories.items()
  ]
  return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(found: LabelledObject, labels: Labels) -> dict[str, Any]:
  assert found.box
  names = labels.categories[found.species].keypoints
  values: list[float] = []
  for name in names:
    point = found.keypoints.get(name)
    if point:
      visibility = (1 if point.occluded else 2) if labels.trusts(point) else 0
      values += (round(point.x, DECIMALS), round(point.y, DECIMALS), visibility)
    else:
      values += (0, 0, 0)
  box = [round(value, DECIMALS) for value in found.box]
  entry = {
    "bbox": box,
    "area": round(box[2] * box[3], DECIMALS),
    "iscrowd": 0,
    "num_keypoints": sum(map(labels.trusts, found.keypoints.values())),
    "keypoints": values,
  }
  confidences = [p and p.confidence for p in map(found.keypoints.get, names)]
  if any(sure is not None for sure in confidences):
    entry["confidences"] = [sure and round(sure, DECIMALS) for sure in confidences]
  return entry


def _confidences(
  entry: dict[str, Any], count: int, path: pathlib.Path
) -> Sequence[float | None]:
  """Returns the confidence of each keypoint; None for those that a person placed.

  Raises:
    ValueError: The entry does not have a number or null for each keypoint.
  """
  found = entry.get("confidences")
  if found is None:
    return [None] * count
  if (
    not isinstance(found, list)
    or len(found) != count
    or not coco_file.are_finite(sure for sure in found if sure is not None)
  ):
    raise ValueError(
      f"{path}: annotation {entry['id']}: confidences is {found!r}, expected "
      f"{count} numbers or nulls"
    )
  return found
