"""Finds the images that a table of DeepLabCut means after folders were moved.

The table names its images by the project and the clip of the day they were labelled:
labeled-data/CLIP/img01.png, or an absolute path of another computer.
"""

import pathlib
from collections.abc import Sequence

from fskd_jax.messages import shown

_ROOT = "labeled-data"


def beside(keys: Sequence[str | int], path: pathlib.Path) -> list[str | int]:
  """Returns the names of images, led to those beside the table where they are there.

  A path that holds labeled-data starts there. If the folder of the table has an image
  of this name but is called otherwise than the clip, it is the clip, renamed.

  Args:
    keys: The names with "/" between folders; numbers of frames are returned unchanged.
    path: The table.

  Raises:
    ValueError: A name means both an image beside the table and another one, in the
      folder that the table names.
  """
  return [key if isinstance(key, int) else _beside(key, path) for key in keys]


def _beside(name: str, path: pathlib.Path) -> str:
  parts = name.split("/")
  if _ROOT in parts[:-1]:
    parts = parts[len(parts) - 1 - parts[::-1].index(_ROOT) :]
  folder = path.absolute().parent
  if len(parts) < 2 or parts[-2] in (folder.name, _ROOT):
    return "/".join(parts)
  if not (folder / parts[-1]).is_file():
    return "/".join(parts)
  other = folder.parent / parts[-2] / parts[-1]
  if other.is_file() and other.read_bytes() != (folder / parts[-1]).read_bytes():
    raise ValueError(
      f"{path}: {shown(name)} is {other}, but there is another {parts[-1]} beside the "
      "table; which one was labelled? Move one of them"
    )
  return "/".join([*parts[:-2], folder.name, parts[-1]])
