"""Table of the label formats that are written, and the readers of all."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fskd_jax.data import names
from fskd_jax.data.labels import (
  coco,
  cvat,
  deeplabcut,
  deeplabcut_project,
  deeplabcut_writing,
  kinds,
  label_studio,
  labelme,
  paths,
  schema,
  sleap,
  sleap_file,
  tables,
  yolo_pose,
  yolo_writing,
)
from fskd_jax.data.labels.schema import Labels
from fskd_jax.files import link
from fskd_jax.messages import naming, raise_if


class Format(NamedTuple):
  """A format.

  Attributes:
    read: A function from a path to labels.
    write: A function of labels, an unfinished path and the path that it becomes; the
      labels have file names, sizes and boxes (`completion.complete`).
    suffix: The suffix of its files; "" for a folder.
    keeps: The parts of labels that the format can hold: of "boxes", "occlusion",
      "species", "skeleton", "confidence" and "names" (of keypoints, even if they are
      missing in all images).
    place: A function from the name of an image and the path of a folder of this format
      to the path that the image has in the folder; None if it lies elsewhere.
  """

  read: Callable[[pathlib.Path], Labels]
  write: Callable[[Labels, pathlib.Path, pathlib.Path], None]
  suffix: str
  keeps: frozenset[str] = frozenset()
  place: Callable[[str, pathlib.Path], str] | None = None


_NAMES = frozenset({"names"})
_SCORED = frozenset({"names", "confidence"})
_MARKED = frozenset({"boxes", "occlusion", "species"})

FORMATS = {
  "coco": Format(coco.read, coco.write, ".json", _MARKED | _SCORED | {"skeleton"}),
  "deeplabcut": Format(tables.read_csv, deeplabcut.write_csv, ".csv", _SCORED),
  "deeplabcut-h5": Format(deeplabcut.read_h5, deeplabcut.write_h5, ".h5", _SCORED),
  "deeplabcut-project": Format(
    deeplabcut_project.read,
    deeplabcut_writing.write,
    "",
    _SCORED | {"skeleton"},
    deeplabcut_writing.place,
  ),
  "lightning-pose": Format(
    tables.read_csv, deeplabcut.write_lightning_pose, ".csv", _NAMES | {"occlusion"}
  ),
  "slp": Format(
    sleap_file.read, sleap_file.write, ".slp", _SCORED | {"skeleton", "species"}
  ),
  "sleap": Format(sleap.read, sleap.write, ".h5", _SCORED | {"skeleton"}),
  "yolo-pose": Format(
    yolo_pose.read, yolo_writing.write, "", _MARKED | _NAMES, yolo_writing.place
  ),
  "labelme": Format(labelme.read, labelme.write, "", _MARKED),
  "label-studio": Format(
    label_studio.read, label_studio.write, ".json", _MARKED | {"confidence"}
  ),
  "cvat": Format(cvat.read, cvat.write, ".xml", _MARKED | _NAMES),
}


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Labels:
  """Reads labels of any kind (`kinds`).

  Args:
    path: The file or folder.
    images: The folder of the images, for formats that count from the bottom of images
      or in shares of their size; looked for near the labels if it is not given.

  Raises:
    FileNotFoundError: There is no such file or folder.
    ValueError: The file has no known format, or is damaged.
  """
  with naming(path):
    labels = kinds.of(path).read(path, images)
    raise_if([*_name_problems(labels)], ValueError, str(path))
    return labels


def read_all(
  sources: Sequence[pathlib.Path], images: pathlib.Path | None = None
) -> Labels:
  """Reads and joins the labels of several files or folders; `images` as for `read`.

  Images of equal names in files of different folders are different images
  (`paths.told_apart`).

  Raises:
    FileNotFoundError, ValueError: As `read`.
  """
  parts = [read(path, images) for path in sources]
  named = [[i.name for i in part.images if isinstance(i.name, str)] for part in parts]
  others = paths.told_apart(named, sources)
  return schema.merge([schema.renamed(*pair) for pair in zip(parts, others)])


def _name_problems(labels: Labels) -> Iterator[str]:
  for image in labels.images:
    if isinstance(image.name, str) and (problem := names.path_problem(image.name)):
      yield f"the name of an image {problem}"
  for species, category in labels.categories.items():
    if species and (problem := names.name_problem(species)):
      yield f"the name of a species {problem}"
    for name in category.keypoints:
      if problem := names.name_problem(name):
        yield f"the name of a keypoint {problem}"


def check_out(name: str, out: pathlib.Path) -> None:
  """Checks the output path of a format before anything is written.

  Raises:
    ValueError: `out` exists, or does not have the suffix of the format.
  """
  if out.exists():
    raise ValueError(f"{out} exists already; name a new one")
  suffix = FORMATS[name].suffix
  if out.suffix.lower() != suffix:
    kind = f"a file {suffix}" if suffix else "a folder, without a suffix,"
    raise ValueError(f"{out}: expected {kind} for {name}")


def link_images(
  labels: Labels,
  name: str,
  images: pathlib.Path,
  unfinished: pathlib.Path,
  out: pathlib.Path,
) -> int:
  """Puts the images into a folder of a format, as hard links where there can be some.

  Args:
    labels: The labels, written to `unfinished`.
    name: The format.
    images: The folder from which the labels name the images.
    unfinished: The folder.
    out: The path that it becomes.

  Returns:
    The number of images; 0 if they have no place in the format.
  """
  place = FORMATS[name].place
  if place is None:
    return 0
  for image in labels.images:
    link(images / str(image.name), unfinished / place(str(image.name), out))
  return len(labels.images)


def losses(labels: Labels, name: str) -> list[str]:
  """Returns descriptions of the parts of labels that a format cannot hold."""
  keeps = FORMATS[name].keeps
  objects = [found for image in labels.images for found in image.objects]
  points = [point for found in objects for point in found.keypoints.values()]
  skeletons = [c for c in labels.categories.values() if c.skeleton]
  bare = sum(not found.keypoints for found in objects)
  counts = (
    ("boxes", len(objects), "{} boxes"),
    ("boxes", bare, "{} objects without a labelled keypoint"),
    ("confidence", sum(p.confidence is not None for p in points), "{} confidences"),
    ("occlusion", sum(p.occluded for p in points), "{} occlusions (v = 1 becomes 2)"),
    ("species", len({found.species for found in objects}), "names of {} species"),
    ("skeleton", len(skeletons), "{} skeletons"),
    ("names", 1, "the order of the keypoint names (--keypoints gives it back)"),
  )
  return [text.format(n) for what, n, text in counts if n and what not in keeps]
