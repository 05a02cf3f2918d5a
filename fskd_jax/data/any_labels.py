"""Opens the labels of any tool that is read as a data set: a folder, file or project.

The layout of this package, annotations.json beside images/, is read directly. All else
goes through `labels`: its kind is found, its images are looked for near it, and boxes
are made where it has none.
"""

import logging
import os
import pathlib
from typing import NamedTuple

from fskd_jax.data import annotations, coco_file
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.coco_variants import Standard
from fskd_jax.data.labels import coco, completion, formats, image_roots, kinds, schema
from fskd_jax.messages import join_first, naming, printable, raise_if

_log = logging.getLogger(__name__)

SPECIES = "object"
"""The species of objects in formats that have none."""

_FILE, _IMAGES = "annotations.json", "images"


class Located(NamedTuple):
  """Labels as entries of COCO, and where their images are.

  Attributes:
    entries: The entries, not yet checked.
    root: The folder of the images.
    name: The name of the data set.
    kind: What the labels are: their tool and how many images are labelled.
    told: What was left out or made.
  """

  entries: Standard
  root: pathlib.Path
  name: str
  kind: str = ""
  told: tuple[str, ...] = ()


def read_dataset(path: str | os.PathLike) -> KeypointDataset:
  """Reads labels of any kind with their images; this is the one way in.

  Images that are missing, objects without a visible keypoint and keypoints outside
  their image are left out, and counted in warnings.

  Args:
    path: A folder, file or project of any tool that docs/data.md lists, or a pattern
      as "clips/*/labels.csv".

  Raises:
    FileNotFoundError: There is nothing at the path, or none of the images is near it.
    ValueError: It is of no known kind, or has a fault; the message names it.
  """
  path = pathlib.Path(path)
  if is_layout(path):
    return annotations.read_coco(path)
  found = locate(path)
  _log.info("%s: %s", printable(str(path)), found.kind)
  for sentence in found.told:
    _log.warning("%s: %s", printable(str(path)), sentence)
  checked, problems = coco_file.of_entries(found.entries)
  raise_if(problems, ValueError, str(path))
  return annotations.of_coco(checked, found.root, found.name, level=2)


def is_layout(path: pathlib.Path) -> bool:
  """Whether a folder has the layout of this package: annotations.json and images/.

  Images that lie deeper than the file says are looked for as those of other tools.
  """
  file, folder = path / _FILE, path / _IMAGES
  if not file.is_file() or not folder.is_dir():
    return False
  try:
    entries = coco_file.parse(file)["images"]
  except ValueError:
    return True  # the reader tells what is wrong
  names = [n for e in entries if isinstance(n := e.get("file_name"), str)]
  return not names or any((folder / n.replace("\\", "/")).is_file() for n in names)


def present_images(path: pathlib.Path) -> set[str]:
  """Returns the names of the images whose files are there; raises as `locate`."""
  entries, root, *_ = locate(path)
  names = {entry.get("file_name") for entry in entries.images}
  return {n for n in names if isinstance(n, str) and (root / n).is_file()}


def locate(path: pathlib.Path) -> Located:
  """Returns labels of any kind as entries of COCO, and the folder of their images.

  Raises:
    FileNotFoundError, ValueError: As for `read_dataset`.
  """
  name = path.resolve().name if path.is_dir() else path.resolve().stem
  if is_layout(path):
    return Located(coco_file.standard(path / _FILE), path / _IMAGES, name)
  sources = kinds.expanded(path)
  labels = schema.with_species(formats.read_all(sources), SPECIES)
  kind = kinds.summary(sources, labels)
  root = image_roots.near(labels, sources)
  if root is None:
    raise FileNotFoundError(
      f"{path}: none of its {len(labels.images)} images is beside it, in {_IMAGES}/ "
      f"there or above: {join_first(str(i.name) for i in labels.images)}"
    )
  labels, left_out, made, missing = completion.complete(
    labels, root, str(path), outside=True
  )
  counts = (
    (left_out, "labelled images or frames are left out: their files are missing"),
    (len(missing), f"images are not in {root}: {join_first(missing)}"),
    (made, "boxes are made around the labelled keypoints, 10 % larger"),
  )
  told = tuple(f"{count} {what}" for count, what in counts if count)
  with naming(path):
    entries = Standard(**coco.content(labels), notes=[])
  return Located(entries, root, name, kind, told)
