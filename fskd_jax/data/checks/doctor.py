"""Checks a data set: its contents, missing or broken files, suspicious labels.

The checks do not stop at the first fault: the report lists all of them.
"""

import collections
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fskd_jax.data import any_labels, coco_file
from fskd_jax.data.checks import labels as checks_labels
from fskd_jax.data.checks import pictures
from fskd_jax.data.checks.findings import ERROR, NOTE, WARNING, Finding
from fskd_jax.data.coco_file import CocoFile
from fskd_jax.data.labels import json_kinds
from fskd_jax.data.published.facts import PUBLISHED

_MP100 = re.compile(r"mp100_split[1-5]_(train|val|test)")


class Report(NamedTuple):
  """The findings in a folder or file.

  Attributes:
    path: The folder or file examined.
    kind: The data set that it seems to be.
    counts: The numbers of annotation files, images, instances and so on.
    labels: Sentences on visibility, mirror pairs and index base of the keypoints.
    findings: The findings, errors first.
  """

  path: str
  kind: str
  counts: dict[str, int]
  labels: tuple[str, ...]
  findings: list[Finding]

  @property
  def has_errors(self) -> bool:
    """Whether a finding would stop training or evaluation."""
    return any(finding.level == ERROR for finding in self.findings)


def examine(
  path: pathlib.Path, progress: Callable[[Iterable], Iterable] = lambda x: x
) -> Report:
  """Examines labels of any kind and their images.

  Args:
    path: A folder, file or project (`any_labels`). COCO files in a folder, or in
      annotations/ in it, are checked one by one; their images lie below it or images/.
    progress: A wrapper of the iterable of images, to show progress.

  Raises:
    FileNotFoundError: There is no such path, or none of the images is near it.
    ValueError: The labels are of no known kind, or damaged.
  """
  found: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
  files = _coco_files(path)
  read, root, other = _read(path, files, found)
  images: dict[str, dict] = {}
  species, counts = collections.Counter(), collections.Counter()
  cocos: list[CocoFile] = []
  for name, coco, problems in read:
    cocos.append(coco)
    counts["annotation files"] += 1
    counts["instances"] += len(coco.annotations)
    found[NOTE, "changes on reading"] += [f"{name}: {x}" for x in coco.notes]
    found[ERROR, "faults in the annotations"] += [f"{name}: {x}" for x in problems]
    for entry in coco.images.values():
      images.setdefault(entry["file_name"], entry)
    for entry in coco.annotations:
      species[coco.categories[entry["category_id"]]["name"]] += 1
    for level, what, case in _doubts(coco):
      found[level, what].append(f"{name}: {case}")
  counts |= {"images named": len(images), "categories": len(species)}
  labels = checks_labels.summarise(cocos)
  for what, case in labels.doubts:
    found[WARNING, what].append(case)
  labelled = {
    c.images[e["image_id"]]["file_name"] for c in cocos for e in c.annotations
  }
  for level, what, case in pictures.findings(root, images, progress, labelled):
    found[level, what].append(case)
  kind = other or _kind(files, species)
  for what, case in _traps(kind, files, species, images, counts):
    found[WARNING, what].append(case)
  order = (ERROR, WARNING, NOTE)
  findings = [
    Finding(level, what, tuple(cases))
    for (level, what), cases in sorted(
      found.items(), key=lambda item: order.index(item[0][0])
    )
    if cases
  ]
  return Report(str(path), kind, dict(counts), labels.lines, findings)


def _coco_files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the COCO files that are checked one by one; none for labels of other kinds.

  A .json file that cannot be read counts as one, and is told.
  """
  if path.is_file():
    return [path] if _may_be_coco(path) else []
  for folder in (path, path / "annotations", path / "gt_coco"):
    files = [file for file in sorted(folder.glob("*.json")) if _may_be_coco(file)]
    if files:
      return files
  return []


def _may_be_coco(path: pathlib.Path) -> bool:
  try:
    return json_kinds.is_coco(path)
  except ValueError:
    return True


def _read(
  path: pathlib.Path,
  files: Iterable[pathlib.Path],
  found: dict[tuple[str, str], list[str]],
) -> tuple[list[tuple[str, CocoFile, list[str]]], pathlib.Path, str]:
  """Returns the checked entries of each file, the folder of the images, and the kind.

  Labels of other kinds than COCO are taken as one file, as training reads them.
  """
  folder = path if path.is_dir() else path.parent
  if not path.is_dir() and path.parent.name == "annotations":
    folder = path.parent.parent
  read = []
  for file in files:
    try:
      read.append((file.name, *coco_file.examine(file)))
    except ValueError as error:
      found[ERROR, "annotation files that cannot be read"].append(str(error))
  root = folder / "images" if (folder / "images").is_dir() else folder
  names = [e["file_name"] for _, coco, _ in read for e in coco.images.values()]
  if files and (not names or any((root / name).is_file() for name in names)):
    return read, root, ""
  try:
    located = any_labels.locate(path)
  except (FileNotFoundError, ValueError):
    if files:
      return read, root, ""
    raise
  found[NOTE, "changes on reading"] += located.told
  entries = coco_file.of_entries(located.entries)
  return [(path.name, *entries)], located.root, located.kind


def _doubts(coco: CocoFile) -> Iterator[tuple[str, str, str]]:
  """Yields suspicious features of valid entries: level, kind, case."""
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
      yield WARNING, "keypoints outside their image", f"{where}: {', '.join(outside)}"
    if not any(v for _, (_, _, v) in triples):
      yield NOTE, "instances without a visible keypoint", where
    origin = [name for name, point in triples if point[2] and point[:2] == (0, 0)]
    if origin:
      yield (
        WARNING,
        "visible keypoints at (0, 0), where missing ones are often written",
        f"{where}: {', '.join(origin)}",
      )
    x, y, w, h = entry["bbox"]
    beyond = max(-x, -y, x + w - image["width"], y + h - image["height"])
    if beyond > 1:
      yield NOTE, "boxes that reach beyond their image", f"{where}: by {beyond:g} px"
    if repeated.pop((entry["image_id"], tuple(entry["keypoints"])), 0) > 1:
      yield WARNING, "the same keypoints twice in an image", where
  for number, image in coco.images.items():
    if number not in annotated:
      yield NOTE, "images without an annotation", image["file_name"]


def _is_outside(point: tuple[float, float, float], image: Mapping[str, Any]) -> bool:
  x, y, _ = point
  return not (-0.5 <= x <= image["width"] - 0.5 and -0.5 <= y <= image["height"] - 0.5)


def _kind(files: Iterable[pathlib.Path], species: Mapping[str, int]) -> str:
  names = {file.name for file in files}
  if any(_MP100.match(name) for name in names):
    return "MP-100"
  for published in PUBLISHED.values():
    if names & set(published.files.values()):
      return published.name
  return f"COCO keypoints, {len(species)} categories"


def _traps(
  kind: str,
  files: Iterable[pathlib.Path],
  species: Mapping[str, int],
  images: Mapping[str, Any],
  counts: Mapping[str, int],
) -> Iterator[tuple[str, str]]:
  """Yields known traps of published data sets (docs/data.md#doctor): kind, case."""
  if "amur_tiger_body" in species:
    yield (
      "known trap: names that mislead",
      "MP-100's category amur_tiger_body holds human faces (AFLW, 19 points), as its "
      "authors confirmed; its name says nothing of what is in it",
    )
  cars = [name for name in images if "carfusion" in name.lower()]
  if cars:
    yield (
      "known trap: CarFusion file names",
      f"{len(cars)} images are CarFusion's, as {cars[0]}: the files of its release are "
      "named otherwise and must be renamed by hand to the names in the annotations",
    )
  for published in PUBLISHED.values():
    if kind != published.name or {f.name for f in files} < set(
      published.files.values()
    ):
      continue
    found = counts["images named"], counts["instances"]
    expected = published.images, published.instances
    if found != expected:
      yield (
        "known trap: releases that differ",
        f"{kind} with {found[0]} images and {found[1]} instances; the papers' release "
        f"has {expected[0]} and {expected[1]}. Later releases of Animal Pose were "
        "corrected several times: numbers of different releases do not compare",
      )


def text(report: Report, shown: int = 5) -> str:
  """Formats a report, with the first cases of every finding."""
  lines = [f"{report.path}: {report.kind}"]
  lines.append("  " + ", ".join(f"{n} {what}" for what, n in report.counts.items()))
  lines += [f"  {line}" for line in report.labels]
  for finding in report.findings:
    lines.append(f"{finding.level}: {len(finding.cases)} x {finding.what}")
    lines += [f"    {case}" for case in finding.cases[:shown]]
    if len(finding.cases) > shown:
      lines.append(f"    ... and {len(finding.cases) - shown} more")
  if not report.findings:
    lines.append("no problems found")
  return "\n".join(lines)


def to_json(report: Report) -> str:
  """Returns a report with every case as JSON."""
  content = report._asdict() | {"findings": [x._asdict() for x in report.findings]}
  return json.dumps(content, indent=2) + "\n"
