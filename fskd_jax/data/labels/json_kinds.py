"""The JSON files of annotation tools, recognised by what is in them."""

import pathlib
from typing import Any

from fskd_jax.data.labels import looks
from fskd_jax.files import read_json
from fskd_jax.messages import shown

_COCO = {"images", "annotations", "categories"}
_content = looks.kept(read_json)


def content(path: pathlib.Path) -> Any:
  """Returns the content of a JSON file, None for other files.

  Raises:
    ValueError: The file is not JSON.
  """
  if path.suffix.lower() != ".json" or not path.is_file():
    return None
  return _content(path)


def is_coco(path: pathlib.Path) -> bool:
  """Whether a file has two of the three lists of COCO; its reader tells what lacks."""
  found = content(path)
  return isinstance(found, dict) and len(_COCO & found.keys()) > 1


def is_labelme(path: pathlib.Path) -> bool:
  """Whether a file is one of LabelMe."""
  found = content(path)
  return isinstance(found, dict) and "shapes" in found


def is_label_studio(path: pathlib.Path) -> bool:
  """Whether a file is a list of tasks of Label Studio, or one of JSON-MIN."""
  first = _first(content(path))
  keys = {"annotations", "predictions", "annotator", "annotation_id"}
  return "data" in first or bool(keys & first.keys())


def is_via(path: pathlib.Path) -> bool:
  """Whether a file is a project or an export of the VGG Image Annotator."""
  found = content(path)
  if not isinstance(found, dict):
    return False
  if "_via_img_metadata" in found:
    return True
  first = next(iter(found.values()), None)
  return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def is_supervisely(path: pathlib.Path) -> bool:
  """Whether a file is the annotation of an image of Supervisely."""
  found = content(path)
  is_one = isinstance(found, dict) and {"objects", "size"} <= found.keys()
  return is_one and isinstance(found["objects"], list)


def unknown(path: pathlib.Path) -> str:
  """Returns a description of a JSON file of no known format."""
  found = content(path)
  if isinstance(found, list):
    what, keys = f"a list of {len(found)}", [*_first(found)]
    of = f" objects with the keys {shown(keys)}" if keys else f": {shown(found[:1])}"
  elif isinstance(found, dict):
    what, of = "an object", f" with the keys {shown([*found])}"
  else:
    what, of = shown(found), ""
  return (
    f"JSON of no known format: {what}{of}; expected COCO, Label Studio, LabelMe, "
    "VIA, Supervisely or {image: {name: [x, y]}}, which a few lines can write"
  )


def _first(found: Any) -> dict[str, Any]:
  """Returns the first entry of a list if it is an object, else an empty one."""
  is_list = isinstance(found, list) and bool(found) and isinstance(found[0], dict)
  return found[0] if is_list else {}
