"""Reads and writes Label Studio: one JSON file of tasks.

Coordinates are percentages of the width and height, counted from the corner of the
image. Points belong to the rectangle that their parentID names or a relation leads to;
its label is the species. Occlusion is a choice "occluded" on the point itself (Choices
with perRegion). `interface` makes a labelling interface with all three.
"""

import collections
import logging
import math
import pathlib
import urllib.parse
from typing import Any
from xml.sax.saxutils import quoteattr

from fskd_jax.data.labels import parsing
from fskd_jax.data.labels.marks import Mark, assemble
from fskd_jax.data.labels.schema import (
  TO_CENTER,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
  gather,
  keypoint_names,
)
from fskd_jax.files import read_json, write_json
from fskd_jax.messages import shown

_log = logging.getLogger(__name__)

_POINT, _BOX = "keypointlabels", "rectanglelabels"


def read(path: pathlib.Path) -> Labels:
  """Reads an export in the format JSON or JSON-MIN.

  JSON-MIN does not hold to which rectangle a point belongs.

  Raises:
    ValueError: The file is not such an export, or a task has several annotations.
  """
  content = read_json(path)
  if not isinstance(content, list) or not content:
    raise ValueError(f"{path}: expected a list of tasks of Label Studio")
  images = []
  content = [_from_min(task) for task in content]
  _tell_others(content, path)
  for place, task in enumerate(content):
    given = None
    if isinstance(task, dict):
      given = task.setdefault("annotations", [] if "predictions" in task else None)
    if not isinstance(given, list) or not all(isinstance(a, dict) for a in given):
      raise ValueError(
        f"{path}: the entry at place {place} has no annotations; expected a task of "
        "Label Studio, exported as JSON or JSON-MIN"
      )
    images.append(_read_task(task, f"{path}: task {shown(task.get('id', place))}"))
  return gather(images)


def _from_min(task: Any) -> Any:
  """Returns a task of JSON-MIN, whose regions lie beside the image, as one of JSON."""
  if not isinstance(task, dict) or "annotations" in task or "data" in task:
    return task
  regions = [r for found in task.values() if isinstance(found, list) for r in found]
  results = [
    {**region, "type": kind, "value": region}
    for region in regions
    if isinstance(region, dict)
    for kind in (_POINT, _BOX)
    if kind in region
  ]
  skipped = ("annotator", "annotation_id", "created_at", "updated_at")
  data = {k: v for k, v in task.items() if isinstance(v, str) and k not in skipped}
  return {"id": task.get("id"), "data": data, "annotations": [{"result": results}]}


def _tell_others(tasks: list[Any], path: pathlib.Path) -> None:
  """Warns of regions that are neither points nor rectangles."""
  counts = collections.Counter(
    region["type"]
    for task in tasks
    if isinstance(task, dict) and isinstance(task.get("annotations"), list)
    for annotation in task["annotations"]
    if isinstance(annotation, dict) and isinstance(annotation.get("result"), list)
    for region in annotation["result"]
    if isinstance(region, dict) and isinstance(region.get("type"), str)
  )
  others = [
    f"{n} {kind}"
    for kind, n in counts.items()
    if kind.endswith("labels") and kind not in (_POINT, _BOX)
  ]
  if others:
    _log.warning(
      "%s: left out: regions that are no points or rectangles: %s",
      path,
      ", ".join(others),
    )


def _read_task(task: dict[str, Any], where: str) -> LabelledImage:
  data = task.get("data")
  data = data if isinstance(data, dict) else {}
  urls = [value for value in data.values() if isinstance(value, str)]
  url = data.get("image") or (urls[0] if len(urls) == 1 else None)
  if not isinstance(url, str):
    raise ValueError(
      f"{where}: its data is {shown(data)}, expected the image under 'image'"
    )
  valid = [a for a in task["annotations"] if not a.get("was_cancelled")]
  chosen = [a for a in valid if a.get("ground_truth")] or valid
  if len(chosen) > 1:
    raise ValueError(
      f"{where}: {len(chosen)} annotations; mark one as ground truth in Label Studio"
    )
  results = chosen[0].get("result") if chosen else []
  results = results if chosen else _predicted(task)
  if not isinstance(results, list) or not all(
    isinstance(r, dict) and isinstance(r.get("value", {}), dict) for r in results
  ):
    raise ValueError(
      f"{where}: its result is {shown(results)}, expected a list of regions"
    )
  sizes = [(r.get("original_width"), r.get("original_height")) for r in results]
  sizes.append((data.get("width"), data.get("height")))  # written by `write`
  size = next(filter(None, (parsing.size_of(*pair) for pair in sizes)), None)
  parents, occluded = _parents(results), _occluded(results)
  marks = [
    _mark(result, size, parents, occluded, where)
    for result in results
    if result.get("type") in (_POINT, _BOX)
  ]
  objects = assemble(marks, where, "parent region (a rectangle)")
  return LabelledImage(_image_name(url), size, objects)


def _predicted(task: dict[str, Any]) -> Any:
  """Returns the regions of the last prediction of a machine, with their scores."""
  given = task.get("predictions")
  last = given[-1] if isinstance(given, list) and given else {}
  if not isinstance(last, dict) or not isinstance(last.get("result"), list):
    return []
  results = [r for r in last["result"] if isinstance(r, dict)]
  score = {} if any("score" in r for r in results) else {"score": last.get("score")}
  return [{**score, **result} for result in results]


def _parents(results: list[dict[str, Any]]) -> dict[str | None, str | None]:
  """Returns the rectangle of each region that belongs to one, by id."""
  boxes = {parsing.identity(r.get("id")) for r in results if r.get("type") == _BOX}
  pairs = []
  for result in results:
    if result.get("type") == "relation":
      ends = result.get("from_id"), result.get("to_id")
      pairs += [ends, ends[::-1]]
    else:
      pairs.append((result.get("id"), result.get("parentID")))
  texts = [(parsing.identity(a), parsing.identity(b)) for a, b in pairs]
  return {region: box for region, box in texts if box in boxes - {None}}


def _occluded(results: list[dict[str, Any]]) -> set[str | None]:
  found = set()
  for result in results:
    choices = result.get("value", {}).get("choices")
    if isinstance(choices, list) and "occluded" in choices:
      found.add(parsing.identity(result.get("id")))
  return found


def _mark(
  result: dict[str, Any],
  size: tuple[int, int] | None,
  parents: dict[str | None, str | None],
  occluded: set[str | None],
  where: str,
) -> Mark:
  kind, value = result["type"], result.get("value", {})
  labels = value.get(kind)
  if not isinstance(labels, list) or len(labels) != 1:
    raise ValueError(f"{where}: a region has the labels {shown(labels)}, expected one")
  label, number = labels[0], parsing.identity(result.get("id"))
  if not isinstance(label, str):
    raise ValueError(f"{where}: a region has the label {shown(label)}, expected a text")
  if result.get("image_rotation"):
    raise ValueError(
      f"{where}: its image was turned by {shown(result['image_rotation'])} degrees in "
      "Label Studio; turn the file and label it again"
    )
  if size is None:
    raise ValueError(f"{where}: no original_width and original_height of the image")
  fields = ("x", "y") if kind == _POINT else ("x", "y", "width", "height")
  percents = [
    parsing.number(value.get(field), f"{where}: {field} of {label!r}")
    for field in fields
  ]
  lengths = [percent / 100 * side for percent, side in zip(percents, size * 2)]
  if kind == _BOX:
    turned = value.get("rotation") or 0
    degrees = parsing.number(turned, f"{where}: rotation of {label!r}")
    return Mark(label, number, box=_upright(lengths, degrees))
  x, y = (length + TO_CENTER for length in lengths)
  sure = result.get("score")
  if sure is not None:
    sure = parsing.number(sure, f"{where}: score of {label!r}")
  return Mark(label, parents.get(number), Keypoint(x, y, number in occluded, sure))


def _upright(box: list[float], degrees: float) -> tuple[float, float, float, float]:
  """Returns the upright box around a box that is rotated about its first corner."""
  x, y, w, h = box
  cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  corners = [(0, 0), (w, 0), (0, h), (w, h)]
  xs = [x + a * cosine - b * sine for a, b in corners]
  ys = [y + a * sine + b * cosine for a, b in corners]
  return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _image_name(url: str) -> str:
  """Returns the path of a local file, or the last part of another file's address."""
  parts = urllib.parse.urlsplit(url)
  local = urllib.parse.parse_qs(parts.query).get("d")
  if local:
    return local[0].lstrip("/")
  name = urllib.parse.unquote(parts.path).lstrip("/")
  uploaded = name.startswith("data/upload/")
  return name.rsplit("/", 1)[-1] if parts.scheme or uploaded else name


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes tasks that refer to images as local files of Label Studio.

  Where a machine placed a keypoint, the objects of an image are a prediction, which
  Label Studio shows as a start for labelling; else they are an annotation.
  """
  tasks = []
  for number, image in enumerate(labels.images, 1):
    assert image.size and isinstance(image.name, str)
    width, height = image.size
    url = "/data/local-files/?d=" + urllib.parse.quote(image.name)
    data = {"image": url, "width": width, "height": height}
    task: dict[str, Any] = {"id": number, "data": data, "annotations": []}
    results = [
      result
      for place, found in enumerate(image.objects)
      for result in _results(found, f"{number}-{place}", image.size)
    ]
    scores = [score for found in image.objects for score in _scores(found)]
    if scores:
      mean = sum(scores) / len(scores)
      told = {"model_version": "fskd", "score": mean, "result": results}
      task["predictions"] = [told]
    else:
      task["annotations"] = [{"result": results}]
    tasks.append(task)
  write_json(unfinished, tasks, indent=1)


def _scores(found: LabelledObject) -> list[float]:
  points = found.keypoints.values()
  return [p.confidence for p in points if p.confidence is not None]


def _results(
  found: LabelledObject, number: str, size: tuple[int, int]
) -> list[dict[str, Any]]:
  common = {
    "to_name": "image",
    "original_width": size[0],
    "original_height": size[1],
    "image_rotation": 0,
  }
  results = []
  if found.box:
    x, y, w, h = (100 * v / side for v, side in zip(found.box, size * 2))
    value: dict[str, Any] = {"x": x, "y": y, "width": w, "height": h, "rotation": 0}
    value["rectanglelabels"] = [found.species]
    kind = {"type": "rectanglelabels", "from_name": "boxes", "id": number}
    results.append({**kind, **common, "value": value})
  parent = {"parentID": number} if found.box else {}
  for place, (name, point) in enumerate(found.keypoints.items()):
    x, y = (100 * (v - TO_CENTER) / side for v, side in zip((point.x, point.y), size))
    value = {"x": x, "y": y, "width": 0.5}
    region = {"id": f"{number}-{place}", **common, **parent}
    kind = {"type": "keypointlabels", "from_name": "keypoints"}
    sure = {} if point.confidence is None else {"score": point.confidence}
    value |= {"keypointlabels": [name]}
    results.append({**kind, **region, **sure, "value": value})
    value = {k: v for k, v in value.items() if k != "keypointlabels"}
    if point.occluded:
      kind = {"type": "choices", "from_name": "visibility"}
      results.append({**kind, **region, "value": {**value, "choices": ["occluded"]}})
  return results


def interface(labels: Labels) -> str:
  """Returns the labelling interface (XML) in which the written tasks open."""
  lines = ["<View>", '  <Image name="image" value="$image"/>']
  for tag, name, values in (
    ("RectangleLabels", "boxes", labels.categories),
    ("KeyPointLabels", "keypoints", keypoint_names(labels)),
  ):
    lines.append(f'  <{tag} name="{name}" toName="image">')
    # model_index is the order in which Label Studio's own COCO export puts keypoints.
    lines += [
      f'    <Label value={quoteattr(value)} model_index="{i}"/>'
      for i, value in enumerate(values)
    ]
    lines.append(f"  </{tag}>")
  choices = '<Choices name="visibility" toName="image" perRegion="true">'
  lines.append(f'  {choices}<Choice value="occluded"/></Choices>')
  return "\n".join([*lines, "</View>"])
