"""Checks the keypoints of COCO files: visibility, sides, index base."""

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.data import sides
from fskd_jax.data.checks.findings import ERROR, WARNING, Case
from fskd_jax.data.coco_file import CocoFile
from fskd_jax.messages import join_first

LONE_SIDES = (
  "names of a side whose other side is missing, so that a mirrored image teaches the "
  "wrong one: train with --config.data.flip_probability=0 and check with --no-mirror, "
  "or name the pairs with --config.data.flip_pairs"
)
DOUBTFUL_PAIRS = (
  "names that differ by l and r, and may be sides: a mirror does not exchange them "
  "unless --config.data.flip_pairs names them"
)


ALL_OCCLUDED = (
  "every labelled keypoint has v = 1, which means occluded; files that mean visible "
  "train alike, but are converted as occluded"
)


class Summary(NamedTuple):
  """A description of the keypoints of one or more files.

  Attributes:
    lines: Sentences for the report.
    doubts: What is wrong or doubtful.
  """

  lines: tuple[str, ...]
  doubts: tuple[Case, ...]


def summarise(files: Sequence[CocoFile], *, is_mirrored: bool = True) -> Summary:
  """Describes the keypoints of files, and lists doubtful ones.

  Args:
    files: The files.
    is_mirrored: Whether training will mirror images, so that sides matter.
  """
  names: dict[str, list[int]] = {}
  for file in files:
    for category in file.categories.values():
      names |= {name: [0, 0, 0] for name in category["keypoints"] if name not in names}
    for entry in file.annotations:
      listed = file.categories[entry["category_id"]]["keypoints"]
      for name, visibility in zip(listed, entry["keypoints"][2::3]):
        names[name][int(visibility)] += 1
  base, base_doubts = _index_base(*_labelled(files))
  sides, side_doubts = _sides([*names])
  _, occluded, visible = map(sum, zip(*names.values())) if names else (0, 0, 0)
  hidden = Case(WARNING, ALL_OCCLUDED, f"{occluded} keypoints")
  doubts = [*(side_doubts if is_mirrored else ()), *base_doubts]
  doubts += [hidden] if occluded and not visible else []
  return Summary((_visibility(names), sides, base), tuple(doubts))


def _visibility(names: dict[str, list[int]]) -> str:
  missing, occluded, visible = map(sum, zip(*names.values())) if names else (0, 0, 0)
  text = (
    f"keypoints: {visible} visible (v = 2), {occluded} occluded (v = 1), {missing} "
    "missing (v = 0)"
  )
  most = collections.Counter({n: c[0] for n, c in names.items() if c[0]}).most_common()
  counts = join_first((f"{name} ({count})" for name, count in most), ", ")
  return f"{text}; missing most: {counts}" if most else text


def _sides(names: list[str]) -> tuple[str, list[Case]]:
  """Returns the mirror pairs that training will use, and names without a partner."""
  found = sides.find(names)
  doubts = [Case(ERROR, LONE_SIDES, name) for name in found.alone]
  doubts += [Case(WARNING, DOUBTFUL_PAIRS, " = ".join(p)) for p in found.doubtful]
  text = join_first(map(" = ".join, found.pairs), ", ") or "none"
  return f"exchanged by a mirror: {text}", doubts


def _labelled(
  files: Iterable[CocoFile],
) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, "n 2"]]:
  """Returns the labelled points, and the (width, height) of the image of each."""
  points, sizes = [], []
  for file in files:
    for entry in file.annotations:
      image = file.images[entry["image_id"]]
      values = np.asarray(entry["keypoints"], float).reshape(-1, 3)
      there = values[values[:, 2] > 0, :2]
      points.append(there)
      sizes.append(np.full(there.shape, (image["width"], image["height"])))
  return np.concatenate([np.zeros((0, 2)), *points]), np.concatenate(
    [np.zeros((0, 2), int), *sizes]
  )


def _index_base(
  points: Float[np.ndarray, "n 2"], sizes: Int[np.ndarray, "n 2"]
) -> tuple[str, list[Case]]:
  """Returns a sentence on the index base of the coordinates, and doubts about it.

  Coordinates that count from 0 end at the width less 1. Whole numbers that start at 1
  and reach the width or height therefore count from 1.
  """
  if not len(points):
    return "index base: no labelled keypoint", []
  low, last = points.min(), int((points == sizes).any(1).sum())
  if not (points == points.round()).all():
    text = f"fractions from {low:g}; taken to count from 0, the centre of a pixel"
  elif low < 1:
    text = f"whole numbers from {low:g}: counted from 0"
  elif last and (points <= sizes).all():
    what = "coordinates that seem to count from 1 (fskd data convert --from-one)"
    case = f"whole numbers from {low:g}, of which {last} equal the width or height"
    return "index base: they seem to count from 1", [Case(WARNING, what, case)]
  else:
    text = f"whole numbers from {low:g}, which may count from 0 or from 1"
  return f"index base: {text}", []
