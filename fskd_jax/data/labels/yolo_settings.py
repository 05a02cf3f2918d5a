"""Reads data.yaml of YOLO-pose: folders, classes, names and mirror pairs of keypoints.

Source: docs.ultralytics.com/datasets/pose. Keypoints have names in new files only.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from fskd_jax.data.labels import parsing, yaml_file
from fskd_jax.messages import shown

_MOST_KEYPOINTS = 10_000
_NAMES = ("kpt_names", "keypoint_names", "kpts_names", "keypoints")
_COCO = (
  "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
  "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
  "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_COCO_FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


class Settings(NamedTuple):
  """The settings of a data set.

  Attributes:
    root: The folder that the other folders are in.
    splits: The folders, or lists, of the images: train, val and test; those that exist.
    classes: The names of the classes, by number.
    shape: The number of keypoints, and 3 if each has a visibility, else 2; None if
      the file has none.
    keypoints: The names of the keypoints of each class, or for all under None.
  """

  root: pathlib.Path
  splits: tuple[pathlib.Path, ...] = ()
  classes: dict[int, str] = {}
  shape: tuple[int, int] | None = None
  keypoints: dict[int | None, tuple[str, ...]] = {}


def is_settings(path: pathlib.Path) -> bool:
  """Returns whether a file is the data.yaml of a data set with keypoints."""
  try:
    return path.suffix.lower() in (".yaml", ".yml") and "kpt_shape" in yaml_file.read(
      path
    )
  except ValueError:
    return False


def read(path: pathlib.Path) -> Settings:
  """Reads data.yaml.

  Raises:
    ValueError: The file is no YAML, or kpt_shape, names or flip_idx do not fit.
  """
  content = yaml_file.read(path)
  root = _root(content.get("path"), path.parent)
  shape = _shape(content.get("kpt_shape"), path)
  splits = [
    found
    for key in ("train", "val", "test")
    for entry in _entries(content.get(key))
    if (found := _place(entry, root, path.parent))
  ]
  classes = _classes(content.get("names"), path)
  names = _keypoints(content, shape[0] if shape else 0, path)
  return Settings(root, tuple(dict.fromkeys(splits)), classes, shape, names)


def _shape(value: Any, path: pathlib.Path) -> tuple[int, int] | None:
  if value is None:
    return None
  whole = isinstance(value, list) and all(type(number) is int for number in value)
  if not whole or len(value) != 2 or value[1] not in (2, 3):
    raise ValueError(
      f"{path}: kpt_shape is {shown(value)}, expected [keypoints, 2 or 3]"
    )
  if not 0 < value[0] <= _MOST_KEYPOINTS:
    raise ValueError(
      f"{path}: kpt_shape has {value[0]} keypoints, expected 1 .. {_MOST_KEYPOINTS}"
    )
  return value[0], value[1]


def _root(told: Any, beside: pathlib.Path) -> pathlib.Path:
  """Returns the folder that the file names if it is here, else that of the file."""
  if not isinstance(told, str) or not told.strip():
    return beside
  place = beside / told.replace("\\", "/")
  return place if place.is_dir() else beside


def _place(entry: str, root: pathlib.Path, beside: pathlib.Path) -> pathlib.Path | None:
  """Returns a folder or list that exists; Roboflow writes ../train/images for train."""
  parts = [part for part in entry.replace("\\", "/").split("/") if part != "."]
  while parts[:1] == [".."]:
    parts = parts[1:]
  for place in (
    root / entry.replace("\\", "/"),
    root.joinpath(*parts),
    beside.joinpath(*parts),
  ):
    if parts and place.exists():
      return pathlib.Path(os.path.abspath(place))
  return None


def _entries(value: Any) -> list[str]:
  values = value if isinstance(value, list) else [value]
  return [entry for entry in values if isinstance(entry, str) and entry.strip()]


def _classes(value: Any, path: pathlib.Path) -> dict[int, str]:
  pairs = value.items() if isinstance(value, dict) else enumerate(value or ())
  try:
    return {int(number): str(name) for number, name in pairs}
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"{path}: names is {shown(value)}, expected names by number"
    ) from error


def _keypoints(
  content: dict[str, Any], count: int, path: pathlib.Path
) -> dict[int | None, tuple[str, ...]]:
  """Returns the names of the keypoints, by class or for all.

  Where there are none, they are numbers from 1, and two that flip_idx exchanges are
  called "left 2" and "right 2" by the lower of their numbers, so that training mirrors
  them; which of them is left is not known.
  """
  told = next((content[key] for key in _NAMES if content.get(key)), None)
  if told is not None:
    lists = told if isinstance(told, dict) else {None: told}
    for names in lists.values():
      if not isinstance(names, list) or len({*map(str, names)}) != count:
        raise ValueError(
          f"{path}: names of keypoints are {shown(names)}, expected {count} others"
        )
    return {k if k is None else int(k): tuple(map(str, n)) for k, n in lists.items()}
  flip = content.get("flip_idx")
  if flip is None:
    return {None: parsing.numbered(count)}
  if not isinstance(flip, list) or {*map(str, flip)} != {*map(str, range(count))}:
    raise ValueError(
      f"{path}: flip_idx is {shown(flip)}, expected each number below {count} once"
    )
  return {None: _COCO if tuple(flip) == _COCO_FLIP else _mirrored(flip)}


def _mirrored(flip: Sequence[int]) -> tuple[str, ...]:
  def name(place: int, other: int) -> str:
    side = "left " if place < other else "right " if place > other else ""
    return f"{side}{min(place, other) + 1}"

  return tuple(name(place, other) for place, other in enumerate(flip))
