"""Reads YOLO-pose data sets: a text file for each image, in labels/ beside images/.

`yolo_rows` reads the files, `yolo_settings` data.yaml. An image without labels has no
object.
"""

import itertools
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

from fskd_jax.data.images import SUFFIXES, opened, shown_size
from fskd_jax.data.labels import paths, yolo_rows, yolo_settings
from fskd_jax.data.labels.schema import LabelledImage, Labels
from fskd_jax.data.labels.yolo_settings import Settings
from fskd_jax.messages import join_first, naming

_log = logging.getLogger(__name__)

_LABELS, _IMAGES = "labels", "images"
_OTHER_TEXTS = (
  "classes.txt",
  "README.txt",
  "README.dataset.txt",
  "README.roboflow.txt",
)
_TRIED = 20  # files looked into to recognise a folder


def settings_file(path: pathlib.Path) -> pathlib.Path | None:
  """Returns the data.yaml of a folder, or of the folder that its labels/ is in."""
  if path.is_file():
    return path if yolo_settings.is_settings(path) else None
  folders = [path]
  if _LABELS in path.absolute().parts:
    folders += path.absolute().parents[:3]
  files = (f for folder in folders for f in sorted(folder.glob("*.y*ml")))
  return next((file for file in files if yolo_settings.is_settings(file)), None)


def is_one(path: pathlib.Path) -> bool:
  """Returns whether a path is a data.yaml of keypoints, or a folder of labels."""
  if settings_file(path) is not None:
    return True
  texts = itertools.islice(_texts(path), _TRIED) if path.is_dir() else ()
  return any(map(yolo_rows.look_right, texts))


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Labels:
  """Reads the labels of a data set, and the sizes of its images.

  Args:
    path: A data.yaml, the folder that has it, or a folder of labels.
    images: The folder of the images. If it is not given, they lie in images/ in place
      of labels/, or beside the labels.

  Raises:
    FileNotFoundError: No image is there.
    ValueError: There are no labels, a line or data.yaml is not as expected, or two
      images have the same file of labels.
  """
  file = settings_file(path)
  settings = yolo_settings.read(file) if file else Settings(path)
  is_whole = path.is_file() or (file is not None and file.parent == path)
  root = (settings.root if is_whole else path).absolute()
  splits = settings.splits if is_whole else ()
  if not all(place.is_relative_to(root) for place in splits):
    root = pathlib.Path(os.path.commonpath(splits))
  texts = [text for place in splits or [root] for text in _texts(place)]
  if not texts:
    raise ValueError(f"{path}: no labels in it; expected labels/NAME.txt of YOLO")
  if images is None:
    images = root if is_whole else _swapped(root, _IMAGES)
    places = splits or [images]
  else:
    places = [images]
  text_of, bare = _matched(texts, root, _pictures(places, images), images, path)
  rows = {picture: yolo_rows.rows(text) for picture, text in text_of.items()}
  with naming(path):
    shape = settings.shape or yolo_rows.shape_of(
      r for some in rows.values() for r in some
    )
  reader = yolo_rows.Reader(
    shape, settings.classes or _class_names(root), settings.keypoints
  )
  found = []
  for picture in sorted({*rows, *bare}):
    with opened(images / picture, str(images / picture)) as image:
      size = shown_size(image)
    objects = tuple(reader.read(row, size) for row in rows.get(picture, ()))
    found.append(LabelledImage(picture, size, objects))
  return Labels(tuple(found), reader.categories)


def _matched(
  texts: Sequence[pathlib.Path],
  root: pathlib.Path,
  pictures: Sequence[str],
  images: pathlib.Path,
  path: pathlib.Path,
) -> tuple[dict[str, pathlib.Path], list[str]]:
  """Returns the file of labels of each picture that has one, and the other pictures."""
  keys: dict[str, str] = {}
  for picture in pictures:
    other = keys.setdefault(_key(picture), picture)
    if other != picture:
      raise ValueError(
        f"{path}: {other} and {picture} in {images} would have the same labels; rename "
        "one of them"
      )
  base = root.absolute()
  names = [_key(text.absolute().relative_to(base).as_posix()) for text in texts]
  matched = paths.match(names, keys).files
  text_of = {keys[key]: text for key, text in zip(matched, texts) if key is not None}
  lost = [str(text) for text, key in zip(texts, matched) if key is None]
  if not text_of:
    raise FileNotFoundError(
      f"{path}: none of the images of its {len(texts)} files of labels is in {images}; "
      "name their folder with --images"
    )
  if lost:
    _log.warning(
      "%s: left out: %d files of labels without an image: %s",
      path, len(lost), join_first(lost),
    )  # fmt: skip
  return text_of, [picture for picture in pictures if picture not in text_of]


def _key(name: str) -> str:
  """Returns a path without suffix and the last folder labels or images."""
  parts = name.split("/")
  for place in reversed(range(len(parts) - 1)):
    if parts[place] in (_LABELS, _IMAGES):
      del parts[place]
      break
  return str(pathlib.PurePosixPath(*parts).with_suffix(""))


def _swapped(folder: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the folder of labels of one of images, or the other way, if it exists."""
  other = _IMAGES if name == _LABELS else _LABELS
  parts = [*folder.absolute().parts]
  for place in reversed(range(len(parts))):
    if parts[place] == other:
      parts[place] = name
      break
  swapped = pathlib.Path(*parts)
  return swapped if swapped.is_dir() else folder


def _texts(place: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the files of labels of a folder of images or labels, or of a list of images.

  A folder that holds folders labels/ has none elsewhere.
  """
  if place.is_file():
    files = [_swapped(f.parent, _LABELS) / f"{f.stem}.txt" for f in _listed(place)]
    yield from (file for file in files if file.is_file())
    return
  folder = _swapped(place, _LABELS)
  found = sorted(f for f in folder.rglob("*.txt") if f.is_file())
  inside = [f for f in found if _LABELS in f.relative_to(folder).parts]
  yield from (f for f in inside or found if f.name not in _OTHER_TEXTS)


def _pictures(places: Sequence[pathlib.Path], root: pathlib.Path) -> list[str]:
  """Returns the paths of the pictures in some folders and lists, from a folder."""
  found: dict[str, None] = {}
  for place in places:
    if place.is_file():
      files = _listed(place)
    else:
      files = sorted(f for f in place.rglob("*") if f.suffix.lower() in SUFFIXES)
    for file in files:
      found[file.absolute().relative_to(root.absolute()).as_posix()] = None
  return [*found]


def _listed(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the existing images that a text file lists, a path on each line."""
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  files = (
    path.parent / line.strip().replace("\\", "/") for line in lines if line.strip()
  )
  return [file for file in files if file.is_file()]


def _class_names(root: pathlib.Path) -> dict[int, str]:
  """Returns the names in classes.txt, which labelling tools write; empty without it."""
  path = root / "classes.txt"
  if not path.is_file():
    return {}
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  return dict(enumerate(line.strip() for line in lines if line.strip()))
