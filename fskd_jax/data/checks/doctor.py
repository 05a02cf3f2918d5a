"""Checks a data set: its contents, missing or broken files, suspicious labels.

The checks do not stop at the first fault: the report lists all of them.
"""

import collections
import json
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fskd_jax.data.checks import annotations, pictures, sources
from fskd_jax.data.checks import labels as checks_labels
from fskd_jax.data.checks.findings import ERROR, NOTE, WARNING, Finding
from fskd_jax.data.coco_file import CocoFile
from fskd_jax.data.published.facts import PUBLISHED


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
    """Whether a finding would stop training or evaluation, or make it wrong."""
    return any(finding.level == ERROR for finding in self.findings)

  @property
  def has_warnings(self) -> bool:
    """Whether a finding needs a look."""
    return any(finding.level == WARNING for finding in self.findings)


def examine(
  path: pathlib.Path,
  progress: Callable[[Iterable], Iterable] = lambda x: x,
  *,
  is_mirrored: bool = True,
) -> Report:
  """Examines labels and their images.

  Args:
    path: A folder with COCO files in it or in annotations/, and images below it or
      below images/; such a file; or labels of another tool (`any_labels`).
    progress: A wrapper of the iterable of images, to show progress.
    is_mirrored: Whether training will mirror images.

  Raises:
    FileNotFoundError, ValueError: As for `sources.read`.
  """
  opened = sources.read(path)
  found: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
  images: dict[str, dict] = {}
  splits: dict[str, set[str]] = collections.defaultdict(set)
  species, counts = collections.Counter(), collections.Counter()
  cocos: list[CocoFile] = []
  found[NOTE, "changes on reading"] += opened.told
  for name, coco, problems, split in opened.sources:
    if coco is None:
      found[ERROR, "annotation files that cannot be read"] += problems
      continue
    cocos.append(coco)
    counts["annotation files"] += 1
    counts["instances"] += len(coco.annotations)
    found[NOTE, "changes on reading"] += [f"{name}: {x}" for x in coco.notes]
    found[ERROR, "faults in the annotations"] += [f"{name}: {x}" for x in problems]
    for entry in coco.images.values():
      file = entry["file_name"]
      images.setdefault(file, entry)
      splits[file] |= split or sources.splits_in(file.rpartition("/")[0])
    for entry in coco.annotations:
      species[coco.categories[entry["category_id"]]["name"]] += 1
    for level, what, case in annotations.findings(coco):
      found[level, what].append(f"{name}: {case}")
  counts |= {"images named": len(images), "categories": len(species)}
  labels = checks_labels.summarise(cocos, is_mirrored=is_mirrored)
  for level, what, case in labels.doubts:
    found[level, what].append(case)
  labelled = {
    c.images[e["image_id"]]["file_name"] for c in cocos for e in c.annotations
  }
  for level, what, case in pictures.findings(
    opened.root, images, splits, labelled, progress
  ):
    found[level, what].append(case)
  files = {source.name for source in opened.sources}
  kind = opened.kind or _kind(files, species)
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


def _kind(names: Collection[str], species: Mapping[str, int]) -> str:
  if any(sources.MP100.match(name) for name in names):
    return "MP-100"
  for published in PUBLISHED.values():
    if {*names} & {*published.files.values()}:
      return published.name
  return f"COCO keypoints, {len(species)} categories"


def _traps(
  kind: str,
  files: Collection[str],
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
    if kind != published.name or {*files} < {*published.files.values()}:
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
