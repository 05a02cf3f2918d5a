"""COCO keypoints, the format that training reads (`coco_file`)."""

import json
import pathlib

from fskd_jax.data import coco_file
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)

DECIMALS = 4
"""Of written coordinates, pixels."""


def read(path: pathlib.Path) -> Labels:
  """Reads a file; crowds are left out.

  Raises:
    ValueError: it is no COCO keypoint file; tells the first problems.
  """
  coco = coco_file.read(path)
  objects: dict[int, list[LabelledObject]] = {number: [] for number in coco.images}
  for entry in coco.annotations:
    category = coco.categories[entry["category_id"]]
    triples = zip(*[iter(entry["keypoints"])] * 3)
    keypoints = {
      name: Keypoint(float(x), float(y), occluded=v == 1)
      for name, (x, y, v) in zip(category["keypoints"], triples)
      if v
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
  """Writes a file, and reads it back to see that training will take it."""
  number = {species: i for i, species in enumerate(labels.categories, 1)}
  images, annotations = [], []
  for image_id, image in enumerate(labels.images, 1):
    assert image.size
    width, height = image.size
    images.append(
      {"id": image_id, "file_name": image.name, "width": width, "height": height}
    )
    for found in image.objects:
      names = labels.categories[found.species].keypoints
      entry = {
        "id": len(annotations) + 1,
        "image_id": image_id,
        "category_id": number[found.species],
      }
      annotations.append(entry | _content(found, names))
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
  content = {"images": images, "annotations": annotations, "categories": categories}
  unfinished.write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")
  coco_file.read(unfinished)


def _content(found: LabelledObject, names: tuple[str, ...]) -> dict:
  assert found.box
  values: list[float] = []
  for name in names:
    point = found.keypoints.get(name)
    values += (
      (round(point.x, DECIMALS), round(point.y, DECIMALS), 1 if point.occluded else 2)
      if point
      else (0, 0, 0)
    )
  box = [round(value, DECIMALS) for value in found.box]
  return {
    "bbox": box,
    "area": round(box[2] * box[3], DECIMALS),
    "iscrowd": 0,
    "num_keypoints": len(found.keypoints),
    "keypoints": values,
  }
