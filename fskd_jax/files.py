"""Reads and writes files; the only door to the disk for what a program leaves behind.

A file appears under its name once it is complete, or not at all. What grows (metrics,
tables) grows by whole lines, which an object store could keep as numbered parts.
"""

import contextlib
import io
import json
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:  # not imported for those who draw nothing
  from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

_INT64 = range(-(2**63), 2**63)


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a path beside `path`, which is renamed to `path` if nothing fails.

  For libraries that write to a path themselves. It may become a file, or a folder
  unless `path` exists.

  Raises:
    FileNotFoundError: The folder of `path` does not exist.
  """
  if not path.absolute().parent.is_dir():
    raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
  unfinished = path.with_name(path.name + ".part")
  try:
    yield unfinished
    unfinished.replace(path)
  finally:
    if unfinished.is_dir():
      shutil.rmtree(unfinished)
    unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields an empty folder, which becomes `path` if nothing fails.

  Folders above are made. The one that is yielded has a name of its own, so that several
  processes may make `path` at once.

  Raises:
    OSError: There is a folder `path` that is not empty.
  """
  above = path.absolute().parent
  above.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=above, prefix=f".{path.name}-") as temporary:
    unfinished = pathlib.Path(temporary) / path.name
    unfinished.mkdir()
    yield unfinished
    unfinished.rename(path)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
  """Writes or replaces a file in one move; makes its folder.

  Raises:
    OSError: It cannot be written. A file of this name stays as it was.
  """
  with _naming(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
      unfinished.write_bytes(content)


def create_bytes(path: pathlib.Path, content: bytes) -> bool:
  """Writes a file that is new; returns False, and writes nothing, where there is one.

  Of several processes that do so at once, one succeeds. A reader may see it incomplete.

  Raises:
    OSError: It cannot be written.
  """
  try:
    with path.open("xb") as file:
      file.write(content)
  except FileExistsError:
    return False
  return True


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes text as UTF-8; as `write_bytes`."""
  write_bytes(path, text.encode("utf-8"))


def link(source: pathlib.Path, target: pathlib.Path) -> None:
  """Makes a hard link to a file, or a copy where there can be none; makes the folder.

  Raises:
    FileNotFoundError: There is no source.
  """
  target.parent.mkdir(parents=True, exist_ok=True)
  try:
    os.link(source.resolve(strict=True), target)
  except FileNotFoundError:
    raise
  except OSError:  # another file system, or one without hard links
    shutil.copyfile(source, target)


def write_json(path: pathlib.Path, content: Any, indent: int | None = 2) -> None:
  """Writes JSON, on one line where `indent` is None; as `write_bytes`."""
  write_text(path, json.dumps(content, indent=indent) + "\n")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays as an npz file; as `write_bytes`."""
  content = io.BytesIO()
  named: Any = dict(arrays)
  np.savez(content, **named)
  write_bytes(path, content.getvalue())


def write_picture(
  path: pathlib.Path, picture: "np.ndarray | Image.Image | Figure", **options: Any
) -> None:
  """Writes a picture in the format of the path's suffix, PNG without one.

  Args:
    path: Path of the file, as for `write_bytes`.
    picture: Pixels, uint8 [h w 3], an image or a figure.
    **options: Options of the image format, such as `quality`.

  Raises:
    ValueError, KeyError: There is no such format, or it has no such option.
    OSError: As `write_bytes`.
  """
  kind = path.suffix.removeprefix(".").lower() or "png"
  write_bytes(path, encode_picture(picture, kind, **options))


def encode_picture(
  picture: "np.ndarray | Image.Image | Figure", kind: str = "png", **options: Any
) -> bytes:
  """Returns the content of a picture's file; arguments as for `write_picture`.

  Raises:
    ValueError, KeyError: There is no such format, or it has no such option.
  """
  content = io.BytesIO()
  if isinstance(picture, np.ndarray):
    picture = Image.fromarray(picture)
  if isinstance(picture, Image.Image):
    picture.save(content, {"jpg": "jpeg"}.get(kind, kind), **options)
  else:
    picture.savefig(content, format=kind, **options)
  return content.getvalue()


def append_text(path: pathlib.Path, text: str) -> None:
  """Appends whole lines in one call to the system, so that processes may share a file.

  Args:
    path: Made with its folder when missing.
    text: One or more lines, with their ends.

  Raises:
    OSError: The text cannot be appended, or only a part of it.
  """
  content = text.encode("utf-8")
  with _naming(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
      if file.write(content) != len(content):
        raise OSError("it was cut off; is the disk full?")


def read_lines(path: pathlib.Path) -> list[bytes]:
  """Returns the lines of a file that `append_text` made, without their ends.

  Raises:
    FileNotFoundError: There is no such file.
  """
  return _read(path).splitlines()


def read_entries(
  path: pathlib.Path, parse: Callable[[bytes], dict[str, Any] | None]
) -> list[dict[str, Any]]:
  """Parses the lines of a file; those damaged by a crash or a bad disk cost a warning.

  Args:
    path: The file.
    parse: Returns what a line says, or None if it is damaged, as `parse_line`.

  Raises:
    FileNotFoundError: There is no such file.
  """
  parsed = [parse(line) for line in read_lines(path)]
  damaged = [number for number, line in enumerate(parsed, 1) if line is None]
  if damaged:
    _log.warning(
      "%s: %d of %d lines are damaged and left out, the first is line %d",
      path, len(damaged), len(parsed), damaged[0],
    )  # fmt: skip
  return [line for line in parsed if line is not None]


def parse_line(line: bytes, fields: Mapping[str, type]) -> dict[str, Any] | None:
  """Parses a line of JSON; None if it is damaged.

  Args:
    line: The line, UTF-8.
    fields: Fields that a whole line has, with their exact types; it may have more.
  """
  try:
    found = json.loads(line.decode("utf-8"))
  except (ValueError, RecursionError):
    return None
  if not isinstance(found, dict):
    return None
  is_whole = all(type(found.get(name)) is kind for name, kind in fields.items())
  return found if is_whole else None


def read_json(path: pathlib.Path) -> Any:
  """Parses a JSON file; numbers beyond the range of int64 and float64 become infinite.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file is not JSON, or nested too deep.
  """
  content = _read(path)
  try:
    text = content.decode(json.detect_encoding(content))  # Windows writes a mark first
    return json.loads(text, parse_int=_integer)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path}: not valid JSON: {error}") from error


def _read(path: pathlib.Path) -> bytes:
  if not path.is_file():  # reading a pipe might never end
    raise FileNotFoundError(f"there is no file {path}")
  return path.read_bytes()


def _integer(digits: str) -> int | float:
  if len(digits) < 19:
    return int(digits)
  number = float(digits)
  return int(digits) if abs(number) < 1e19 and int(digits) in _INT64 else number


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
  """Makes an error of the system name the file that was to be written."""
  try:
    yield
  except OSError as error:
    problem = error.strerror or error
    raise OSError(f"{path} cannot be written: {problem}") from error
