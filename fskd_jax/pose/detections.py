"""Reads the boxes of a person detector, to replace the annotated ones."""

import pathlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from fskd_jax.data import coco_file
from fskd_jax.data.annotations import Instance, KeypointDataset, image_reader
from fskd_jax.files import read_json
from fskd_jax.messages import shown


class Detections(NamedTuple):
  """Detected boxes as a data set whose instances show no keypoint.

  Attributes:
    dataset: The images of the annotation file, and one instance per box; instance i
      has id i.
    scores: The score of each box.
    image_ids: The image id of each box in the annotation file.
    category_ids: The category id of each box in the annotation file.
  """

  dataset: KeypointDataset
  scores: Float[np.ndarray, " p"]
  image_ids: Int64[np.ndarray, " p"]
  category_ids: Int64[np.ndarray, " p"]


def read_detections(
  path: str | pathlib.Path,
  folder: pathlib.Path,
  vocabulary: Sequence[str],
  image_names: Collection[str] | None = None,
) -> Detections:
  """Reads a COCO results file: a JSON list of image_id, category_id, bbox, score.

  Boxes without extent, of categories that the annotation file lacks, and of images
  that are not wanted are left out.

  Args:
    path: The results file.
    folder: The folder with annotations.json and images/.
    vocabulary: The keypoint names of the data set.
    image_names: The file names of the wanted images; all by default.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: The file is no list of detections, or no box is left. The message names
      the first problem.
  """
  coco = coco_file.load(folder)
  entries = _entries(pathlib.Path(path), set(coco.images))
  images = {
    number: image
    for number, image in coco.images.items()
    if image_names is None or image["file_name"] in image_names
  }
  place = {number: i for i, number in enumerate(images)}
  used = [
    entry
    for entry in entries
    if entry["image_id"] in place
    and entry["category_id"] in coco.categories
    and min(entry["bbox"][2:]) > 0
  ]
  used.sort(key=lambda entry: place[entry["image_id"]])
  if not used:
    raise ValueError(
      f"{path}: none of its {len(entries)} boxes lies in one of the {len(images)} "
      f"images, has a category of {sorted(coco.categories)} and a size above 0"
    )
  nowhere = np.zeros((len(vocabulary), 2), np.float32)
  unseen = np.zeros(len(vocabulary), bool)
  instances = []
  for number, entry in enumerate(used):
    image = images[entry["image_id"]]
    x, y, w, h = map(float, entry["bbox"])
    instances.append(
      Instance(
        instance_id=number,
        image=place[entry["image_id"]],
        image_size=(image["width"], image["height"]),
        species=coco.categories[entry["category_id"]]["name"],
        box=(x, y, w, h),
        keypoints=nowhere,
        visible=unseen,
      )
    )
  listed = list(images.values())
  return Detections(
    dataset=KeypointDataset(
      name=pathlib.Path(path).name,
      keypoint_names=tuple(vocabulary),
      skeleton=(),
      species=tuple(category["name"] for category in coco.categories.values()),
      instances=tuple(instances),
      image_names=tuple(image["file_name"] for image in listed),
      read_image=image_reader(folder / "images", listed),
    ),
    scores=np.array([entry["score"] for entry in used], np.float64),
    image_ids=np.array([entry["image_id"] for entry in used]),
    category_ids=np.array([entry["category_id"] for entry in used]),
  )


def _entries(path: pathlib.Path, image_ids: set[int]) -> list[dict[str, Any]]:
  """Parses the file and checks every entry."""
  if not path.is_file():
    raise FileNotFoundError(f"pose.detections: there is no file {path}")
  content = read_json(path)
  if not isinstance(content, list):
    raise ValueError(f"{path}: expected a list of detections")
  for i, entry in enumerate(content):
    problem = _problem(entry, image_ids)
    if problem:
      raise ValueError(f"{path}: detection {i}: {problem}")
  return content


def _problem(entry: Any, image_ids: set[int]) -> str | None:
  keys = ("image_id", "category_id", "bbox", "score")
  if not isinstance(entry, dict) or any(key not in entry for key in keys):
    return f"expected an object with {', '.join(keys)}"
  image, category = entry["image_id"], entry["category_id"]
  if not coco_file.is_integer(image) or image not in image_ids:
    return f"image_id is {shown(image)}, which annotations.json does not have"
  if not coco_file.is_integer(category):
    return f"category_id is {shown(category)}, expected an integer"
  box, score = entry["bbox"], entry["score"]
  if not isinstance(box, list) or len(box) != 4:
    return f"bbox is {shown(box)}, expected [x, y, width, height]"
  if not coco_file.are_finite([*box, score]):
    return f"bbox {shown(box)} and score {shown(score)} must be finite numbers"
  return None
