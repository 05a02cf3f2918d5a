"""Entries of a COCO keypoint file, as every writer of data sets makes them."""

from collections.abc import Sequence
from typing import Any


def image(number: int, name: str, size: tuple[int, int]) -> dict[str, Any]:
  """Returns the entry of an image; `size` is (width, height) in pixels."""
  return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def annotation(
  number: int,
  image_number: int,
  category: int,
  box: Sequence[float],
  keypoints: Sequence[float],
) -> dict[str, Any]:
  """Returns the entry of an instance.

  Args:
    number: Id of the annotation.
    image_number: Id of its image.
    category: Id of its category.
    box: (x, y, width, height) in pixels.
    keypoints: x, y and COCO's visibility of every type, flattened.
  """
  return {
    "id": number,
    "image_id": image_number,
    "category_id": category,
    "bbox": list(box),
    "area": box[2] * box[3],
    "iscrowd": 0,
    "num_keypoints": sum(v != 0 for v in keypoints[2::3]),
    "keypoints": list(keypoints),
  }
