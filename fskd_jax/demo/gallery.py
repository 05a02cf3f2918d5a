"""Pictures of the page: those of a folder, and those that visitors add."""

import hashlib
import pathlib
import threading
import time
from typing import NamedTuple

from PIL import Image

from fskd_jax.data import images
from fskd_jax.files import encode_picture
from fskd_jax.messages import printable
from fskd_jax.prediction import photographs
from fskd_jax.prediction.photographs import Decoded

MAX_BYTES = 2**29
"""Largest memory for the files that visitors add, bytes."""

UNUSED_SECONDS = 600.0
"""Time after which an added picture that nobody looks at may give way to others."""

_LARGEST = 4096  # longer side of what is sent to the browser, pixels
_THUMBNAIL = 160


class Picture(NamedTuple):
  """A picture.

  Attributes:
    key: Its name in addresses, which nobody can guess without having the picture.
    name: The name of its file, below the folder.
    size: (width, height) as shown, turned as its EXIF data says.
    source: Its file, or the content of it.
  """

  key: str
  name: str
  size: tuple[int, int]
  source: pathlib.Path | bytes

  def content(self) -> bytes:
    """Returns the content of its file."""
    return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

  def read(self) -> Decoded:
    """Reads the pixels.

    Raises:
      FileNotFoundError, ValueError: As for `photographs.read`.
    """
    with images.opened(self.source, self.name) as image:
      return Decoded(self.name, photographs.read(image, self.name))


class Gallery:
  """All pictures of a server, by key.

  Attributes:
    folder: The pictures of the folder.
    place: A name of the folder for the browser, "" without one.
    problems: Messages about files of the folder that cannot be read.
  """

  def __init__(self, folder: pathlib.Path | None = None):
    """Looks through a folder and the folders in it.

    Args:
      folder: A folder of pictures to label; None for those that visitors add alone.

    Raises:
      FileNotFoundError: There is no such folder.
      ValueError: It holds no picture that can be read.
    """
    self._lock = threading.Lock()
    self._added: dict[str, tuple[Picture, float]] = {}
    self.place = _hash(str(folder.resolve()).encode()) if folder else ""
    self.folder: dict[str, Picture] = {}
    self.problems: list[str] = []
    if folder and not folder.is_dir():
      raise FileNotFoundError(f"there is no folder {folder}")
    for path in images.below(folder) if folder else ():
      name = printable(path.relative_to(folder or path).as_posix())
      try:
        picture = _opened(name, path, f"{name} {path.stat().st_mtime_ns}".encode())
        self.folder[picture.key] = picture
      except (ValueError, OSError) as error:
        self.problems.append(str(error))
    if folder and not self.folder:
      raise ValueError(f"{folder}: holds no picture ({' '.join(images.SUFFIXES)})")

  def add(self, name: str, content: bytes) -> Picture:
    """Adds the file of a visitor.

    Raises:
      ValueError: It is no picture, or there is no room for it.
    """
    name = printable(name.replace("\\", "/").rpartition("/")[2]) or "picture"
    picture = _opened(name, content, name.encode() + b"\0" + content)
    now = time.monotonic()
    with self._lock:
      self._added[picture.key] = picture, now
      for key, (_, used) in sorted(self._added.items(), key=lambda x: x[1][1]):
        if self._weight() > MAX_BYTES and now - used > UNUSED_SECONDS:
          del self._added[key]
      if self._weight() > MAX_BYTES:
        del self._added[picture.key]
        raise ValueError(
          f"{name}: there is room for {MAX_BYTES >> 20} MB of added pictures; start "
          "fskd demo with --images FOLDER for more"
        )
    return picture

  def get(self, key: str) -> Picture:
    """Returns a picture.

    Raises:
      LookupError: There is none of this key, or not any more.
    """
    if key in self.folder:
      return self.folder[key]
    with self._lock:
      if key not in self._added:
        raise LookupError("a picture is not here any more: add it again")
      picture, _ = self._added[key]
      self._added[key] = picture, time.monotonic()
    return picture

  def _weight(self) -> int:
    return sum(len(picture.source) for picture, _ in self._added.values())  # pyright: ignore[reportArgumentType]


def for_browser(picture: Picture, is_small: bool) -> bytes:
  """Returns a picture as JPEG, whatever its file is; large ones are reduced.

  Raises:
    FileNotFoundError, ValueError: As `Picture.read`.
  """
  image = Image.fromarray(picture.read().pixels)
  side = _THUMBNAIL if is_small else _LARGEST
  image.thumbnail((side, side))
  return encode_picture(image, "jpeg", quality=80 if is_small else 92)


def _opened(name: str, source: pathlib.Path | bytes, secret: bytes) -> Picture:
  with images.opened(source, name) as image:
    size = images.shown_size(image)
  return Picture(_hash(secret), name, size, source)


def _hash(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()[:32]
