"""Table of the kinds of files and folders that hold labels, and how each is recognised.

A kind is found by looking, never asked for. To add one, add a row.
"""

import collections
import glob
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from fskd_jax.data.labels import (
  coco,
  cvat,
  deeplabcut,
  deeplabcut_project,
  h5,
  imglab,
  json_kinds,
  label_folders,
  label_studio,
  labelme,
  pandas_h5,
  plain_json,
  point_rows,
  pts,
  sleap,
  sleap_file,
  supervisely,
  tables,
  tps,
  via,
  yolo_pose,
)
from fskd_jax.data.labels.schema import Labels

_TRIED = 20  # files looked into to recognise a folder

Reader = Callable[[pathlib.Path, pathlib.Path | None], Labels]


class Kind(NamedTuple):
  """A kind of labels.

  Attributes:
    name: The name in messages.
    is_one: A function that returns whether a path is of this kind. A row need not
      repeat what the rows above have excluded.
    read: A function of a path and the folder of the images, or None if it is not told.
      Only formats without coordinates in pixels use the images.
  """

  name: str
  is_one: Callable[[pathlib.Path], bool]
  read: Reader


def of(path: pathlib.Path) -> Kind:
  """Returns the kind of a file or folder.

  Raises:
    FileNotFoundError: There is no such file or folder.
    ValueError: The file is empty, or of no known kind.
  """
  if not path.exists():
    raise FileNotFoundError(f"there is no file or folder {path}")
  if path.is_file() and not path.stat().st_size:
    raise ValueError(f"{path}: the file is empty")
  found = next((kind for kind in KINDS if kind.is_one(path)), None)
  if found is None and path.suffix.lower() == ".json":
    raise ValueError(f"{path}: {json_kinds.unknown(path)}")
  if found is None:
    raise ValueError(f"{path}: expected {_EXPECTED}")
  return found


def summary(sources: Sequence[pathlib.Path], labels: Labels) -> str:
  """Returns the kinds of sources and what they hold; raises as `of`.

  For example "DeepLabCut project: 707 labelled images in 38 folders".
  """
  counts = collections.Counter(of(path).name for path in sources)
  told = [f"{n} x {name}" if n > 1 else name for name, n in counts.items()]
  labelled = [image.name for image in labels.images if image.objects]
  folders = {n.rpartition("/")[0] for n in labelled if isinstance(n, str)}
  where = f" in {len(folders)} folders" if len(folders) > 1 else ""
  what = "frames" if any(isinstance(name, int) for name in labelled) else "images"
  return f"{', '.join(told)}: {len(labelled)} labelled {what}{where}"


def expanded(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the paths that a pattern such as clips/*/labels.csv stands for.

  A shell has usually done so; those of Windows, and quotes, leave it to programs.

  Raises:
    FileNotFoundError: No file fits the pattern.
  """
  if path.exists() or not set("*?[") & {*str(path)}:
    return [path]
  found = sorted(glob.glob(str(path), recursive=True))
  if not found:
    raise FileNotFoundError(f"there is no file like {path}")
  return [*map(pathlib.Path, found)]


def _alone(read: Callable[[pathlib.Path], Labels]) -> Reader:
  """Returns the reader of a format that needs no images."""
  return lambda path, images: read(path)


def _ends(*suffixes: str) -> Callable[[pathlib.Path], bool]:
  return lambda path: path.suffix.lower() in suffixes and path.is_file()


def _is_pts(path: pathlib.Path) -> bool:
  return path.suffix.lower() == ".pts" or any(path.glob("*.pts"))


def _is_labelme(path: pathlib.Path) -> bool:
  """Whether a path is a file of LabelMe, or a folder with one for each image."""
  if not path.is_dir():
    return json_kinds.is_labelme(path)
  return any(map(json_kinds.is_labelme, _few(path.rglob("*.json"))))


def _few(paths: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
  """Returns the first paths, enough to recognise a folder."""
  return itertools.islice((p for p in paths if p.is_file()), _TRIED)


def _read_folder(path: pathlib.Path, images: pathlib.Path | None) -> Labels:
  return label_folders.read(
    path,
    images,
    lambda file: of(file).name,
    lambda file, i: of(file).read(file, i),
    _EXPECTED,
  )


def _is_pandas(path: pathlib.Path) -> bool:
  if not _ends(".h5", ".hdf5")(path):
    return False
  with h5.open_h5(path) as file:
    return bool(pandas_h5.groups(file))


def _is_imglab(path: pathlib.Path) -> bool:
  return _ends(".xml")(path) and b"<dataset" in _head(path)


def _head(path: pathlib.Path) -> bytes:
  with path.open("rb") as file:
    return file.read(4096).removeprefix(b"\xef\xbb\xbf")


KINDS = (
  Kind(
    "DeepLabCut project",
    lambda path: deeplabcut_project.root(path) is not None,
    _alone(deeplabcut_project.read),
  ),
  Kind("YOLO-pose", yolo_pose.is_one, yolo_pose.read),
  Kind("landmarks .pts", _is_pts, pts.read),
  Kind("COCO", json_kinds.is_coco, _alone(coco.read)),
  Kind("Label Studio", json_kinds.is_label_studio, _alone(label_studio.read)),
  Kind("VIA", json_kinds.is_via, _alone(via.read)),
  Kind("VIA", via.is_csv, _alone(via.read_csv)),
  Kind("plain JSON", plain_json.is_one, _alone(plain_json.read)),
  Kind("Supervisely", supervisely.is_one, _alone(supervisely.read)),
  Kind("LabelMe", _is_labelme, _alone(labelme.read)),
  Kind(
    "table with a row for each keypoint", point_rows.is_one, _alone(point_rows.read)
  ),
  Kind("table of keypoints", _ends(".csv", ".tsv"), _alone(tables.read_csv)),
  Kind("table of DeepLabCut", _is_pandas, _alone(deeplabcut.read_h5)),
  Kind("SLEAP project", sleap_file.is_one, _alone(sleap_file.read)),
  Kind("SLEAP analysis", _ends(".h5", ".hdf5"), _alone(sleap.read)),
  Kind("dlib XML", _is_imglab, _alone(imglab.read)),
  Kind("CVAT", _ends(".xml"), _alone(cvat.read)),
  Kind("TPS", _ends(".tps"), tps.read),
  Kind("folder of labels", pathlib.Path.is_dir, _read_folder),
)
"""All kinds; a path is of the first that fits."""

_EXPECTED = (
  "a folder of LabelMe, DeepLabCut, YOLO-pose, Supervisely or .pts files, or a file "
  ".json, .csv, .h5, .slp, .nwb, .xml, .tps, .pts or .yaml"
)
