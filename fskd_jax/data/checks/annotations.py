"""Checks the annotations of a COCO file, one by one."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any

from fskd_jax.data.checks.findings import ERROR, NOTE, WARNING, Case
from fskd_jax.data.coco_file import CocoFile

ALL_UNSEEN = (
  "categories of which every keypoint has v = 0, although coordinates are there: did "
  "the tool write no visibility? If they are labels: `fskd data convert FILE "
  "--all-visible --out NEW.json`"
)
NOTHING = "categories without a labelled keypoint: nothing can be learnt from them"


def findings(coco: CocoFile) -> Iterator[Case]:
  """Yields what is wrong or doubtful in the valid entries of a file."""
  yield from _unseen(coco)
  repeated = collections.Counter(
    (x["image_id"], tuple(x["keypoints"])) for x in coco.annotations
  )
  annotated = {entry["image_id"] for entry in coco.annotations}
  for entry in coco.annotations:
    image = coco.images[entry["image_id"]]
    names = coco.categories[entry["category_id"]]["keypoints"]
    where = f"annotation {entry['id']}, {image['file_name']}"
    triples = list(zip(names, zip(*[iter(entry["keypoints"])] * 3)))
    outside = [n for n, point in triples if point[2] and _is_outside(point, image)]
    if outside:
      yield Case(
        WARNING, "keypoints outside their image", f"{where}: {', '.join(outside)}"
      )
    if not any(v for _, (_, _, v) in triples):
      yield Case(NOTE, "instances without a visible keypoint", where)
    origin = [name for name, point in triples if point[2] and point[:2] == (0, 0)]
    if origin:
      yield Case(
        WARNING,
        "visible keypoints at (0, 0), where missing ones are often written",
        f"{where}: {', '.join(origin)}",
      )
    x, y, w, h = entry["bbox"]
    beyond = max(-x, -y, x + w - image["width"], y + h - image["height"])
    if beyond > 1:
      yield Case(
        NOTE, "boxes that reach beyond their image", f"{where}: by {beyond:g} px"
      )
    if repeated.pop((entry["image_id"], tuple(entry["keypoints"])), 0) > 1:
      yield Case(WARNING, "the same keypoints twice in an image", where)
  for number, image in coco.images.items():
    if number not in annotated:
      yield Case(NOTE, "images without an annotation", image["file_name"])


def _is_outside(point: tuple[float, float, float], image: Mapping[str, Any]) -> bool:
  x, y, _ = point
  return not (-0.5 <= x <= image["width"] - 0.5 and -0.5 <= y <= image["height"] - 0.5)


def _unseen(coco: CocoFile) -> Iterator[Case]:
  """Yields the categories that have annotations, but no visible keypoint at all."""
  seen, placed, counts = set(), set(), collections.Counter()
  for entry in coco.annotations:
    category = coco.categories[entry["category_id"]]["name"]
    counts[category] += 1
    values = entry["keypoints"]
    if any(values[2::3]):
      seen.add(category)
    if any(values[0::3]) or any(values[1::3]):
      placed.add(category)
  for category, count in counts.items():
    if category not in seen:
      what = ALL_UNSEEN if category in placed else NOTHING
      level = WARNING if seen else ERROR
      yield Case(level, what, f"{category}: {count} annotations")
