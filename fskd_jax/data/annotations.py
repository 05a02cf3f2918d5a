"""Annotated images and their instances, and the reader of COCO folders.

Coordinates are pixels of the image as shown (turned by EXIF data), in the convention of
`geometry`.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fskd_jax.data import coco_file, images


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
  """One annotated animal, person or object.

  Attributes:
    instance_id: The id of the annotation in its file.
    image: The number of the image in the data set, for `read_image`.
    image_size: (width, height) in pixels.
    species: Category name.
    box: (x, y, w, h) in pixels, clipped to the image; float32 numbers.
    keypoints: (x, y) in pixels of every type in the vocabulary; 0 where not visible.
    visible: Whether each type is annotated (COCO: v != 0) and inside the image.
    group: The clip or person that the image is of, see `splits.with_groups`; "" where
      images are not grouped.
  """

  instance_id: int
  image: int
  image_size: tuple[int, int]
  species: str
  box: tuple[float, float, float, float]
  keypoints: Float[np.ndarray, "n 2"]
  visible: Bool[np.ndarray, " n"]
  group: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeypointDataset:
  """Annotated images, and random access to their encoded bytes.

  Attributes:
    name: The name of the data set in messages.
    keypoint_names: The vocabulary: the union over categories, by first appearance.
    skeleton: Pairs of keypoint numbers, from 0, for drawing.
    species: The category names, in the order of the file.
    instances: The instances, sorted by (image, instance_id).
    image_names: The file names of the images that hold an instance.
    read_image: A function from an image number to the unchanged bytes of its file.
  """

  name: str
  keypoint_names: tuple[str, ...]
  skeleton: tuple[tuple[int, int], ...]
  species: tuple[str, ...]
  instances: tuple[Instance, ...]
  image_names: tuple[str, ...]
  read_image: Callable[[int], bytes]


def read_coco(folder: str | os.PathLike) -> KeypointDataset:
  """Reads a folder with annotations.json (COCO keypoints) and images/.

  Crowds, instances without a visible keypoint and images without an instance are left
  out. A keypoint outside its image counts as not visible. One warning counts the
  losses. `read_image` compares the size with the annotated one.

  Raises:
    FileNotFoundError: The annotation file or an image is missing.
    ValueError: The file has a fault; the message names the annotation and the image.
      Or no keypoint is visible at all.
  """
  folder = pathlib.Path(folder)
  coco = coco_file.load(folder)
  return of_coco(coco, folder / "images", folder.resolve().name, level=2)


def of_coco(
  coco: coco_file.CocoFile, root: pathlib.Path, name: str, *, level: int = 1
) -> KeypointDataset:
  """Returns the data set of checked entries; leaves out and warns as `read_coco`.

  Args:
    coco: The entries.
    root: The folder of the images.
    name: The name of the data set in messages.
    level: The number of callers between the warning and the code that it is for.
  """
  categories = coco.categories
  names = tuple(dict.fromkeys(k for c in categories.values() for k in c["keypoints"]))
  place = {name: i for i, name in enumerate(names)}
  found, outside = [], 0
  for entry in coco.annotations:
    image, category = coco.images[entry["image_id"]], categories[entry["category_id"]]
    instance, lost = _instance(entry, image, category, place)
    found.append(instance)
    outside += lost
  seen = [instance for instance in found if instance.visible.any()]
  if found and not seen:
    raise ValueError(f"{name}: {_nothing_seen(coco.annotations)}")
  if outside or len(seen) < len(found):
    warnings.warn(
      f"{name}: {outside} keypoints outside their image count as not visible;"
      f" {len(found) - len(seen)} instances without a visible keypoint are left out",
      stacklevel=1 + level,
    )
  used = {instance.image for instance in seen}
  entries = [image for image_id, image in coco.images.items() if image_id in used]
  number = {image["id"]: i for i, image in enumerate(entries)}
  instances = [dataclasses.replace(i, image=number[i.image]) for i in seen]
  return KeypointDataset(
    name=name,
    keypoint_names=names,
    skeleton=_skeleton(categories.values(), place),
    species=tuple(category["name"] for category in categories.values()),
    instances=tuple(sorted(instances, key=lambda i: (i.image, i.instance_id))),
    image_names=tuple(entry["file_name"] for entry in entries),
    read_image=image_reader(root, entries),
  )


def _nothing_seen(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns a sentence on annotations of which none shows a keypoint."""
  text = f"none of its {len(entries)} objects has a visible keypoint inside its image"
  unseen = not any(any(entry["keypoints"][2::3]) for entry in entries)
  if unseen and any(any(entry["keypoints"]) for entry in entries):
    text += (
      "; coordinates are there, but all have v = 0. If the tool wrote no visibility: "
      "fskd data convert FILE --all-visible --out NEW.json"
    )
  return text


def _instance(
  entry: dict, image: dict, category: dict, place: dict[str, int]
) -> tuple[Instance, int]:
  """Returns an instance, its image still by id, and the number of keypoints it lost."""
  size = (image["width"], image["height"])
  values = np.asarray(entry["keypoints"], np.float32).reshape(-1, 3)
  points, annotated = values[:, :2], values[:, 2] != 0
  inside = ((points >= -0.5) & (points <= np.asarray(size, np.float32) - 0.5)).all(-1)
  rows = [place[name] for name in category["keypoints"]]
  visible = np.zeros(len(place), bool)
  visible[rows] = annotated & inside
  keypoints = np.zeros((len(place), 2), np.float32)
  keypoints[rows] = points
  keypoints[~visible] = 0
  instance = Instance(
    instance_id=entry["id"],
    image=image["id"],
    image_size=size,
    species=category["name"],
    box=clip_box(entry["bbox"], size),
    keypoints=keypoints,
    visible=visible,
  )
  return instance, int((annotated & ~inside).sum())


def clip_box(
  box: Iterable[float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
  """Returns the part of a box (x, y, w, h) that lies in an image of (width, height).

  The original code keeps the width of a box that starts outside the image. Source:
  docs/algorithm.md#augmentation.
  """
  x, y, w, h = np.asarray(box, np.float32)  # the precision of the records
  left, top = max(x, 0), max(y, 0)
  w, h = min(w + min(x, 0), size[0] - left), min(h + min(y, 0), size[1] - top)
  return float(left), float(top), float(w), float(h)


def _skeleton(
  categories: Iterable[dict], place: dict[str, int]
) -> tuple[tuple[int, int], ...]:
  """Returns the union of the skeletons of all categories."""
  pairs = (pair for category in categories for pair in coco_file.skeleton(category))
  return tuple(dict.fromkeys((place[a], place[b]) for a, b in pairs))


def image_reader(
  folder: pathlib.Path, entries: Sequence[Mapping[str, Any]]
) -> Callable[[int], bytes]:
  """Returns a function from an index into `entries` to the bytes of that image.

  Args:
    folder: The folder of the images.
    entries: Entries with file_name, width and height.

  Raises:
    ValueError: From the function: the size is not the annotated one.
  """

  def read_image(number: int) -> bytes:
    entry = entries[number]
    path = folder / entry["file_name"]
    data = path.read_bytes()
    images.check_size(data, str(path), (entry["width"], entry["height"]))
    return data

  return read_image
