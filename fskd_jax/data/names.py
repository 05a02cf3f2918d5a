"""Checks names read from files: of keypoints and species, and of image files.

Names are written to paths, XML, CSV and pictures: those that one of these cannot hold
are refused when they are read. Every other name is kept unchanged.
"""

import os
import pathlib
import unicodedata
from collections.abc import Iterable
from typing import Any

from fskd_jax.messages import shown

LONGEST = 200
"""Largest number of characters in the name of a keypoint or species."""

_LONGEST_PATH = 4096
_NOT_IN_XML = "\ufffe\uffff"


def name_problem(name: Any) -> str | None:
  """Returns the problem of a keypoint's or species' name ("is ..."), or None."""
  return _text_problem(name, LONGEST)


def path_problem(name: Any) -> str | None:
  """Returns the problem of the path of an image, wherever it leads, or None."""
  return _text_problem(name, _LONGEST_PATH)


def file_problem(name: Any) -> str | None:
  """Returns the problem of the name of an image below its folder, or None."""
  problem = path_problem(name)
  if problem:
    return problem
  path = pathlib.PurePosixPath(name)
  if path.is_absolute() or ".." in path.parts:
    return f"is {shown(name)}, which leads out of the folder of the images"
  return None


def outside(folder: str | os.PathLike, names: Iterable[str]) -> list[str]:
  """Returns the names whose files lie outside a folder, by ".." or a symbolic link."""
  root = os.path.realpath(folder)
  return [
    name
    for name in names
    if os.path.commonpath([root, os.path.realpath(os.path.join(root, name))]) != root
  ]


def _text_problem(name: Any, longest: int) -> str | None:
  if not isinstance(name, str) or not name.strip():
    return f"is {shown(name)}, expected a text that is not blank"
  if len(name) > longest:
    return (
      f"is {shown(name)}, which has {len(name)} letters, expected at most {longest}"
    )
  if name.isprintable():
    return None
  for letter in name:
    if unicodedata.category(letter) in ("Cc", "Cs") or letter in _NOT_IN_XML:
      return f"is {shown(name)}, which holds {ascii(letter)}, no printable letter"
  return None
