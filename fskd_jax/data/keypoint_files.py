"""Keypoints of single images, from the files of annotation tools.

Read are COCO JSON, LabelMe JSON, plain JSON ({name: [x, y]}), and tables: CSV of
DeepLabCut, of SLEAP, and the one that `fskd predict` writes.
"""

import csv
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fskd_jax.data import coco_file


class Marked(NamedTuple):
  """One object marked in an image; pixel indices of the image as it was shown.

  Attributes:
    keypoints: name -> (x, y), None where not visible.
    box: (x, y, w, h), or None.
    skeleton: pairs of names, for drawing.
    size: (width, height) of the image in which it was marked, or None.
  """

  keypoints: dict[str, tuple[float, float] | None]
  box: tuple[float, ...] | None = None
  skeleton: tuple[tuple[str, str], ...] = ()
  size: tuple[int, int] | None = None


def read(path: pathlib.Path, image: str) -> list[Marked]:
  """Reads what is marked in one image.

  Args:
    path: .json or .csv.
    image: name of the image file, by which files of many images are searched. A file
      of one image is taken for this one, whatever it is called there.

  Returns:
    One for each object; several from COCO files only.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file cannot be understood, or does not have the image.
  """
  if not path.is_file():
    raise FileNotFoundError(f"there is no keypoint file {path}")
  name = pathlib.Path(image).name
  if path.suffix.lower() == ".csv":
    return [_from_table(path, name)]
  if path.suffix.lower() != ".json":
    raise ValueError(f"{path}: expected a keypoint file .json or .csv")
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path}: not valid JSON: {error}") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path}: expected a JSON object, got a {type(content).__name__}")
  if "annotations" in content and "images" in content:
    return _from_coco(path, name)
  if isinstance(content.get("shapes"), list):
    return [_from_labelme(path, content)]
  return [_from_plain(path, content)]


def _from_coco(path: pathlib.Path, image: str) -> list[Marked]:
  coco = coco_file.read(path)
  by_name = {pathlib.Path(i["file_name"]).name: i for i in coco.images.values()}
  entry = by_name[_choose(path, image, list(by_name))]
  found = []
  for annotation in coco.annotations:
    if annotation["image_id"] != entry["id"]:
      continue
    category = coco.categories[annotation["category_id"]]
    triples = zip(*[iter(annotation["keypoints"])] * 3)
    found.append(
      Marked(
        keypoints={
          name: (x, y) if v else None
          for name, (x, y, v) in zip(category["keypoints"], triples)
        },
        box=tuple(annotation["bbox"]),
        skeleton=coco_file.skeleton(category),
        size=(entry["width"], entry["height"]),
      )
    )
  if not found:
    raise ValueError(f"{path}: image {image!r} has no annotation")
  return found


def _from_labelme(path: pathlib.Path, content: Mapping[str, Any]) -> Marked:
  keypoints, boxes = {}, []
  for shape in content["shapes"]:
    kind, label = shape.get("shape_type", "point"), str(shape.get("label"))
    # LabelMe counts from the corner of the first pixel, not from its centre.
    try:
      points = [(float(x) - 0.5, float(y) - 0.5) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(f"{path}: the points of {label!r} are no numbers") from error
    if kind == "rectangle" and len(points) == 2:
      (x0, x1), (y0, y1) = (sorted(axis) for axis in zip(*points))
      boxes.append((x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0))
    elif kind == "point" and len(points) == 1:
      if label in keypoints:
        raise ValueError(f"{path}: the label {label!r} occurs twice")
      keypoints[label] = points[0]
  size = (content.get("imageWidth"), content.get("imageHeight"))
  return Marked(
    keypoints=keypoints,
    box=boxes[0] if len(boxes) == 1 else None,
    size=size if all(isinstance(n, int) for n in size) else None,  # pyright: ignore
  )


def _from_plain(path: pathlib.Path, content: Mapping[str, Any]) -> Marked:
  """Reads {name: [x, y]}, or that under "keypoints" beside "box" and "skeleton"."""
  points, others = content, {}
  if isinstance(content.get("keypoints"), dict):
    points, others = content["keypoints"], content
  keypoints: dict[str, tuple[float, float] | None] = {}
  for name, point in points.items():
    values = [0, 0, 0] if point is None else point
    if not (
      isinstance(values, list) and len(values) in (2, 3) and _are_numbers(values)
    ):
      raise ValueError(f"{path}: {name!r} is {point!r}, expected [x, y] or null")
    keypoints[name] = None if values[2:] == [0] else (values[0], values[1])
  box, skeleton = others.get("box"), []
  if box is not None:
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box)):
      raise ValueError(f"{path}: box is {box!r}, expected [x, y, width, height]")
    box = tuple(box)
  for pair in others.get("skeleton", []):
    if not isinstance(pair, list) or len(pair) != 2 or not set(pair) <= {*keypoints}:
      raise ValueError(f"{path}: skeleton holds {pair!r}, expected two keypoint names")
    skeleton.append((pair[0], pair[1]))
  return Marked(keypoints, box, tuple(skeleton))


def _from_table(path: pathlib.Path, image: str) -> Marked:
  with path.open(newline="", encoding="utf-8") as file:
    rows = [row for row in csv.reader(file) if any(row)]
  columns, first = _table_columns(path, rows)
  where = min(place for pair in columns.values() for place in pair)
  keys = [_row_key(row[:where]) for row in rows[first:]]
  row = rows[first + keys.index(_choose(path, image, keys))]
  keypoints = {}
  for name, (x, y) in columns.items():
    cells = [row[place].strip() if place < len(row) else "" for place in (x, y)]
    try:
      point = tuple(float(cell or "nan") for cell in cells)
    except ValueError as error:
      raise ValueError(f"{path}: {name!r} is {cells}, expected numbers") from error
    keypoints[name] = None if any(value != value for value in point) else point
  return Marked(keypoints)


def _table_columns(
  path: pathlib.Path, rows: Sequence[Sequence[str]]
) -> tuple[dict[str, tuple[int, int]], int]:
  """Returns where the x and y of each keypoint are, and the first row of data."""
  places: dict[str, dict[str, int]] = {}
  header = {row[0].strip().lower(): row for row in rows[:4] if row}
  if "bodyparts" in header and "coords" in header:  # DeepLabCut
    if len({*filter(None, header.get("individuals", [])[1:])}) > 1:
      raise ValueError(f"{path}: several individuals; write a table of one")
    pairs = list(zip(header["bodyparts"], header["coords"]))
    first = rows.index(header["coords"]) + 1
  else:  # SLEAP, and ours: one row of nose.x, nose.y, ..
    pairs = [cell.rsplit(".", 1) for cell in rows[0]] if rows else []
    pairs, first = [pair if len(pair) == 2 else ("", "") for pair in pairs], 1
  for place, (name, axis) in enumerate(pairs):
    if axis.strip().lower() in ("x", "y"):
      places.setdefault(name.strip(), {})[axis.strip().lower()] = place
  columns = {n: (p["x"], p["y"]) for n, p in places.items() if len(p) == 2}
  if not columns:
    raise ValueError(
      f"{path}: expected a table of DeepLabCut (rows bodyparts, coords), or with "
      "columns like nose.x, nose.y"
    )
  return columns, first


def _row_key(cells: Sequence[str]) -> str:
  """Returns the file name in the cells before the coordinates, or else a number."""
  texts = [re.split(r"[/\\]", cell.strip())[-1] for cell in cells if cell.strip()]
  files = [text for text in texts if re.search(r"\.[a-z]\w*$", text, re.IGNORECASE)]
  numbers = [text for text in texts if text.isdigit()]
  return (files or numbers or texts or [""])[-1]


def _choose(path: pathlib.Path, image: str, keys: Sequence[str]) -> str:
  """Returns the key of an image: its name, the number in it, or the only one."""
  if image in keys:
    return image
  numbers = re.findall(r"\d+", pathlib.Path(image).stem)
  for key in keys:
    if key.isdigit() and numbers and int(key) == int(numbers[-1]):
      return key
  if len(keys) == 1:
    return keys[0]
  shown = ", ".join(map(repr, keys[:3]))
  raise ValueError(f"{path}: has nothing for {image!r}; it has {len(keys)}: {shown} ..")


def _are_numbers(values: Iterable[Any]) -> bool:
  return all(
    isinstance(v, (int, float)) and not isinstance(v, bool) and v == v for v in values
  )
