"""Reads the keypoints of single images from the files of annotation tools.

These are all kinds of `labels.kinds` (files, folders and projects), which include the
files that `fskd predict` writes, and the plain JSON of one object ({name: [x, y]}).
"""

import logging
import os
import pathlib
from collections.abc import Sequence

from fskd_jax.data.labels import formats, paths, plain_json, row_names
from fskd_jax.data.labels.plain_json import Marked
from fskd_jax.files import read_json
from fskd_jax.messages import join_first, naming

_log = logging.getLogger(__name__)


def read(
  path: pathlib.Path, image: str | os.PathLike, *, shared: bool = False
) -> list[Marked]:
  """Reads the objects marked in one image.

  Args:
    path: Path of a file, folder or project of labels.
    image: Path of the image. A file of many images is searched for the entry that
      shares the longest end of its path, or for the number of its frame. A file of a
      single image is taken for this one, unless its own is there and another picture.
    shared: Whether the file also belongs to other images.

  Returns:
    The objects marked.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file cannot be read, lacks the image, or has several entries that
      fit it.
  """
  if not path.exists():
    raise FileNotFoundError(f"there is no keypoint file {path}")
  if path.suffix.lower() == ".json":
    content = read_json(path)
    if plain_json.is_object(content):
      with naming(path):
        return [plain_json.parse(content)]
  labels = formats.read(path)
  listed = [entry.name for entry in labels.images]
  key = _choose(path, pathlib.Path(image), listed, shared)
  entry = labels.images[listed.index(key)]
  found = []
  for marked in entry.objects:
    category = labels.categories[marked.species]
    doubtful = [n for n, p in marked.keypoints.items() if not labels.trusts(p)]
    if doubtful:
      _log.warning(
        "%s: a machine placed these in %s with a confidence below %g; left out: %s",
        path, image, labels.least_confidence, ", ".join(doubtful),
      )  # fmt: skip
    points = {n: p for n, p in marked.keypoints.items() if n not in doubtful}
    keypoints = {
      name: (points[name].x, points[name].y) if name in points else None
      for name in category.keypoints
    }
    found.append(Marked(keypoints, marked.box, category.skeleton, entry.size))
  if not found:
    raise ValueError(f"{path}: image {os.fspath(image)!r} has no annotation")
  return found


def _choose(
  path: pathlib.Path, image: pathlib.Path, keys: Sequence[str | int], shared: bool
) -> str | int:
  """Returns the key of an image: its path, the number in its name, or the only one.

  Raises:
    ValueError: No key fits the image, several do, or the only one names another image.
  """
  named = [key for key in keys if isinstance(key, str)]
  found = paths.PathIndex(named).nearest(os.fspath(image.absolute()))
  frames = [n for n in row_names.frame_numbers(image.name) if n in keys]
  may_be: list[str | int] = [*(found.paths or frames)]
  if len(may_be) > 1:
    raise ValueError(
      f"{path}: {os.fspath(image)!r} may be {join_first(map(repr, may_be), ' or ')}; "
      "the folders of its path must tell which"
    )
  is_only = not may_be and len(keys) == 1 and not shared
  if not may_be and not is_only:
    raise ValueError(
      f"{path}: has nothing for {os.fspath(image)!r}; it has {len(keys)}: "
      f"{join_first(map(repr, keys), ', ')}"
    )
  key = keys[0] if is_only else may_be[0]
  if isinstance(key, str) and (other := paths.other_picture(image, key, path)):
    raise ValueError(
      f"{path}: its labels of {key!r} are those of {other}, which is another picture "
      f"than {os.fspath(image)!r}"
    )
  if isinstance(key, str) and not found.whole:
    _log.warning("%s: the labels of %s are taken for %s", path, key, image)
  return key
