"""Labels as other people published them, against a plain second reading; round trips.

The second reading uses the csv module, JSON, ElementTree and h5py alone. What is read
is written as COCO (four decimals) and compared there, point by point.

  python -m benchmarks.reliability.originals --originals shared/field_originals \
    --sets shared/data
"""

import argparse
import csv
import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import h5py
import numpy as np
from PIL import Image

from fskd_jax.data.labels import coco, completion, formats, row_names, schema
from fskd_jax.data.labels.schema import Labels

WORST = 7.1e-5
"""Largest distance, pixels, by rounding both coordinates to four decimals."""

Points = dict[tuple[str, str], list[tuple[float, float]]]
"""Places of a keypoint in an image, by their names; the order is that of the file."""


class Outcome(NamedTuple):
  """What came of the files of a kind: keypoints, the worst distance, and refusals."""

  kind: str
  files: int
  keypoints: int
  worst: float
  problems: list[str]


def compare(originals: pathlib.Path) -> list[Outcome]:
  """Returns an outcome for each kind of files in a folder."""
  found = []
  for kind, (pattern, second) in SECOND.items():
    files = sorted(originals.rglob(pattern))
    count, worst, problems, read = 0, 0.0, [], 0
    for path in files:
      expected = second(path)
      if not expected:
        continue  # of another layout
      try:
        ours = _points(formats.read(path))
      except (ValueError, OSError) as error:
        problems.append(f"refused: {error}")
        continue
      read += 1
      if {k: len(v) for k, v in ours.items()} != {
        k: len(v) for k, v in expected.items()
      }:
        problems.append(f"{path}: other points")
        continue
      for key, places in expected.items():
        for a, b in zip(places, ours[key]):
          count += 1
          worst = max(worst, math.dist(a, b))
    found.append(Outcome(kind, read, count, worst, problems))
  return found


def _key(image: str | int, name: str) -> tuple[str, str]:
  return "/".join(str(image).replace("\\", "/").split("/")[-2:]), name


def _points(labels: Labels) -> Points:
  """Returns the points of a COCO file of labels, whose images need not be there."""
  labels = schema.with_species(labels, "object")
  images = []
  for image in labels.images:
    every = [p for o in image.objects for p in o.keypoints.values()]
    size = image.size or tuple(
      int(max([abs(v) for v in values], default=0)) + 2
      for values in ([p.x for p in every], [p.y for p in every])
    )
    boxed = [completion.with_box(o, size, labels) for o in image.objects]  # pyright: ignore[reportArgumentType]
    images.append(image._replace(name=str(image.name), size=size, objects=tuple(boxed)))
  content = coco.content(labels._replace(images=tuple(images), least_confidence=0.0))
  return _of_coco(content, "confidences")


def _of_coco(content: dict, confidences: str = "") -> Points:
  files = {entry["id"]: entry["file_name"] for entry in content["images"]}
  names = {c["id"]: c.get("keypoints") or () for c in content["categories"]}
  found: Points = {}
  for entry in content["annotations"]:
    values = np.ravel(entry.get("keypoints") or []).tolist()
    known = names[entry["category_id"]] or [str(i + 1) for i in range(len(values) // 3)]
    if entry.get("iscrowd"):
      continue
    for name, x, y, v in zip(known, values[::3], values[1::3], values[2::3]):
      if v:
        found.setdefault(_key(files[entry["image_id"]], name), []).append((x, y))
  return found


def _second_coco(path: pathlib.Path) -> Points:
  content = json.loads(path.read_text())
  keys = {"images", "annotations", "categories"}
  if not isinstance(content, dict) or not keys <= content.keys():
    return {}
  kinds = {entry["id"] for entry in content["categories"]}
  entries = content["annotations"]
  if not all("keypoints" in e and e["category_id"] in kinds for e in entries):
    return {}
  if any(np.shape(e["keypoints"])[1:] == (2,) for e in entries):
    return {}  # pairs with a list of their own for what is visible
  return _of_coco(content)


def _second_csv(path: pathlib.Path) -> Points:
  if path.suffix == ".h5":
    path = path.with_suffix(".csv")
  if not path.is_file():
    return {}
  rows = list(csv.reader(path.open(newline="")))
  header = {row[0]: row for row in rows[:4]}
  if "bodyparts" not in header:
    return {}
  found: Points = {}
  for row in rows[len(header) if "individuals" in header else 3 :]:
    image = "/".join(c for c in row[: 3 if header["coords"][1] == "" else 1] if c)
    for i, axis in enumerate(header["coords"][:-1]):
      if axis == "x" and i + 1 < len(row) and row[i] and row[i + 1]:
        place = float(row[i]), float(row[i + 1])
        found.setdefault(_key(image, header["bodyparts"][i]), []).append(place)
  return found


def _second_analysis(path: pathlib.Path) -> Points:
  told = path.with_name(path.name.replace(".analysis.h5", ".expected.json"))
  content = json.loads(told.read_text())
  found: Points = {}
  for frame in content["frames"]:
    for instance in frame["instances"]:
      for name, (x, y, *_) in zip(content["nodeNames"], instance["points"]):
        if x is not None and not math.isnan(x):
          found.setdefault(_key(frame["frameIdx"], name), []).append((x, y))
  return found


def _second_slp(path: pathlib.Path) -> Points:
  """Returns the points that persons placed, where there is one video and no machine."""
  with h5py.File(path) as opened:
    file: Any = opened  # whose entries h5py types as anything that may be there
    if (
      not {"points", "frames", "instances"} <= {*file} or len(file["videos_json"]) != 1
    ):
      return {}
    if len(file["pred_points"]) or "video0" in file:
      return {}
    told = json.loads(file["metadata"].attrs["json"])
    frames, instances, points = (file[n][()] for n in ("frames", "instances", "points"))
    if not told["skeletons"]:
      return {}
    shift = 0.5 if file["metadata"].attrs["format_id"] < 1.1 else 0.0
  order = [node["id"] for node in told["skeletons"][0]["nodes"]]
  names = [told["nodes"][i]["name"] for i in order]
  found: Points = {}
  for frame in frames:
    for i in range(frame["instance_id_start"], frame["instance_id_end"]):
      start, end = (instances[i][f"point_id_{side}"] for side in ("start", "end"))
      for name, point in zip(names, points[start:end]):
        if point["visible"] and not np.isnan(point["x"]):
          place = float(point["x"]) - shift, float(point["y"]) - shift
          found.setdefault(_key(int(frame["frame_idx"]), name), []).append(place)
  return found


def _second_tps(path: pathlib.Path) -> Points:
  """Returns the landmarks as they stand; `_blank_tps` turns y around."""
  found: Points = {}
  places: list[tuple[float, float]] = []
  for line in path.read_text().splitlines():
    if line.startswith("LM="):
      places = []
    elif line.startswith("IMAGE="):
      for number, (x, y) in enumerate(places, 1):
        key = _key(line.partition("=")[2].strip(), str(number))
        found.setdefault(key, []).append((x, _HEIGHT - y))
    elif line[:1].isdigit():
      places.append(tuple(map(float, line.split())))  # pyright: ignore[reportArgumentType]
  return found


_HEIGHT = 4000


def _second_cvat(path: pathlib.Path) -> Points:
  """Returns single points of images, less half a pixel, in their groups' order."""
  found: Points = {}
  for image in ElementTree.parse(path).getroot().findall("image"):
    for shape in image.iter("points"):
      pairs = shape.get("points", "").split(";")
      for number, pair in enumerate(pairs, 1):
        name = shape.get("label", "") if len(pairs) == 1 else str(number)
        x, y = (float(v) - 0.5 for v in pair.split(","))
        if shape.get("outside") != "1":
          found.setdefault(_key(image.get("name", ""), name), []).append((x, y))
  return found


SECOND: dict[str, tuple[str, Callable[[pathlib.Path], Points]]] = {
  "DeepLabCut CSV": ("*.csv", _second_csv),
  "DeepLabCut H5": ("CollectedData*.h5", _second_csv),
  "COCO": ("*.json", _second_coco),
  "SLEAP analysis": ("*.analysis.h5", _second_analysis),
  "SLEAP .slp": ("*.slp", _second_slp),
  "CVAT": ("*.xml", _second_cvat),
  "TPS": ("*.tps", _second_tps),
}
"""The files of each kind, and the second reading of one; empty for other layouts."""


def with_pictures(originals: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Copies the TPS files beside blank pictures, by which y is turned around."""
  for path in originals.rglob("*.tps"):
    copy = folder / path.relative_to(originals)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
    for image, _ in _second_tps(path):
      Image.new("1", (1, _HEIGHT)).save(copy.parent / image)
  return folder


def round_trips(sets: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """Yields (set, format, "exact" or what happened) for every pair."""
  for source in sorted(sets.glob("*/annotations.json")):
    before = formats.read(source)
    for name, form in formats.FORMATS.items():
      if name != "coco":
        yield (
          source.parent.name,
          name,
          _trip(before, name, form, source.parent / "images"),
        )


def _trip(before: Labels, name: str, form: formats.Format, images: pathlib.Path) -> str:
  with tempfile.TemporaryDirectory() as work:
    out = pathlib.Path(work) / f"labels{form.suffix}"
    try:
      form.write(before, out, out)
      formats.link_images(before, name, images, out, out)
    except (ValueError, ImportError) as error:
      return f"refused: {str(error)[:150]}"
    back = form.read(out)
  theirs = {image.name: image for image in back.images}
  numbers = row_names.frames_of([str(image.name) for image in before.images])
  for image, number in zip(before.images, numbers):
    key = form.place(str(image.name), out) if form.place else image.name
    names = key, number, f"labeled-data/{key}"
    other = next((theirs[name] for name in names if name in theirs), None)
    other = other or next(
      (i for n, i in theirs.items() if str(n).endswith(f"/{key}")), None
    )
    if other is None or len(other.objects) != len(image.objects):
      return f"{image.name}: other objects"
    for one, two in zip(image.objects, other.objects):
      if _rounded(one, form) != _rounded(two, form):
        return f"{image.name}: other points"
  return "exact"


def _rounded(found: schema.LabelledObject, form: formats.Format) -> dict:
  seen = "occlusion" in form.keeps
  return {
    name: (round(p.x, 4) + 0.0, round(p.y, 4) + 0.0, seen and p.occluded)
    for name, p in found.keypoints.items()
  }


def main() -> int:
  """Prints what came; returns 1 if a point is elsewhere."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--originals", type=pathlib.Path)
  parser.add_argument("--sets", type=pathlib.Path)
  args = parser.parse_args()
  is_wrong = False
  if args.originals:
    with tempfile.TemporaryDirectory() as work:
      outcomes = compare(args.originals)[:-1]
      outcomes += compare(with_pictures(args.originals, pathlib.Path(work)))[-1:]
    for kind, files, keypoints, worst, problems in outcomes:
      print(f"{kind}: {files} files, {keypoints} keypoints, worst {worst:.1e} px")
      print("".join(f"  {problem[:300]}\n" for problem in problems), end="")
      is_wrong |= worst > WORST or any("other points" in p for p in problems)
    print(f"all: {sum(o.keypoints for o in outcomes)} keypoints")
  if args.sets:
    counts: dict[str, int] = {}
    for name, target, came in round_trips(args.sets):
      kind = came.partition(":")[0]
      kind = kind if kind in ("exact", "refused") else "wrong"
      counts[kind] = counts.get(kind, 0) + 1
      if kind != "exact":
        print(f"{name} to {target} and back: {came}")
    print(f"round trips: {counts}")
    is_wrong |= "wrong" in counts
  return int(is_wrong)


if __name__ == "__main__":
  raise SystemExit(main())
