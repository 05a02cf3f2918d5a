"""Reads the XML of dlib's imglab: boxes with named parts.

Coordinates are pixel indices, boxes (left, top, width, height) in whole pixels; the
label of a box is the species. Source: dlib, tools/imglab and `image_dataset_metadata`.
"""

import pathlib
from xml.etree import ElementTree

from fskd_jax.data.labels import parsing, xml_file
from fskd_jax.data.labels.schema import (
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  gather,
)
from fskd_jax.messages import shown


def read(path: pathlib.Path) -> Labels:
  """Reads a file without the boxes that dlib is told to ignore.

  Raises:
    ValueError: The file has no images, a number is missing, or a part occurs twice.
  """
  entries = xml_file.parse(path).findall("images/image")
  if not entries:
    raise ValueError(f"{path}: no images in it; expected a file of dlib's imglab")
  return gather(_image(entry, path) for entry in entries)


def _image(entry: ElementTree.Element, path: pathlib.Path) -> LabelledImage:
  name = entry.get("file", "").replace("\\", "/")
  where = f"{path}: image {shown(name)}"
  size = parsing.size_of(entry.get("width"), entry.get("height"))
  boxes = [box for box in entry.iterfind("box") if box.get("ignore", "0") == "0"]
  return LabelledImage(name, size, tuple(_object(box, where) for box in boxes))


def _object(box: ElementTree.Element, where: str) -> LabelledObject:
  keypoints: dict[str, Keypoint] = {}
  for part in box.iterfind("part"):
    name = part.get("name", "")
    if name in keypoints:
      raise ValueError(f"{where}: a box has the part {shown(name)} twice")
    x, y = (
      parsing.number(part.get(axis), f"{where}: {axis} of {shown(name)}")
      for axis in ("x", "y")
    )
    keypoints[name] = Keypoint(x, y)
  left, top, width, height = (
    parsing.number(box.get(key), f"{where}: {key} of a box")
    for key in ("left", "top", "width", "height")
  )
  species = box.findtext("label", "").strip()
  return LabelledObject(keypoints, species, (left, top, width, height))
