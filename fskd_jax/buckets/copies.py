"""Folders and files in buckets, gs:// and s3://, as copies on this machine.

What is read is fetched; a workdir is mirrored: fetched, used, and sent back while it
changes (`mirror`). Objects appear whole or not at all, and every request is
repeated while the store fails.

Copies lie below $FSKD_BUCKETS, ~/.cache/fskd_jax/buckets without it.
"""

import hashlib
import importlib
import logging
import os
import pathlib
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fskd_jax.files import atomic_path, read_json, write_json

_log = logging.getLogger(__name__)

# One slash is enough, because pathlib turns gs://bucket into gs:/bucket.
_ADDRESS = re.compile(r"(gs|s3):/+(.+)")

_OTHER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}

ATTEMPTS = 6
"""Number of tries of a request, half a second to eight apart; the libraries have their
own beside them."""

_INDEX = ".fetched.json"
"""In the copy of an address: what was fetched, by path, with the store's version."""

Result = TypeVar("Result")


def is_address(path: str | os.PathLike) -> bool:
  """Returns whether a path is in a bucket."""
  return _ADDRESS.fullmatch(os.fspath(path)) is not None


def local(path: str | os.PathLike) -> pathlib.Path:
  """Returns a path of this machine as it is, of an address a copy that is up to date.

  Raises:
    ValueError: The address is of another kind than gs:// and s3://.
    FileNotFoundError: There is nothing at the address.
    ImportError: The library for this kind of bucket is not installed.
    OSError: The store does not answer, or the copy cannot be written.
  """
  if not is_address(path):
    if _OTHER.match(os.fspath(path)):
      raise ValueError(
        f"{path} is an address of a kind that is not read: gs:// and s3:// are; mount "
        "others and name the folder where they are mounted"
      )
    return pathlib.Path(path)
  return fetch(path, copy_of(path))


def copy_of(address: str | os.PathLike) -> pathlib.Path:
  """Returns the place of an address's copy; it has the same name."""
  scheme, key = _parts(address)
  digest = hashlib.sha256(f"{scheme}:{key}".encode()).hexdigest()[:12]
  return _home() / digest / pathlib.PurePosixPath(key).name


def is_copy(path: pathlib.Path) -> bool:
  """Returns whether a path is that of a copy, or in one."""
  return _home().absolute() in path.absolute().parents


def _home() -> pathlib.Path:
  usual = pathlib.Path.home() / ".cache" / "fskd_jax" / "buckets"
  return pathlib.Path(os.environ.get("FSKD_BUCKETS") or usual)


def fetch(
  address: str | os.PathLike,
  place: pathlib.Path,
  wanted: Callable[[str], bool] = lambda name: True,
) -> pathlib.Path:
  """Copies an object, or all below a prefix; what has not changed is kept.

  Args:
    address: The address of an object or a prefix.
    place: The file or folder to make.
    wanted: Whether an object is copied, given its path below the prefix.

  Raises:
    As `local`.
  """
  bucket = Bucket(address)
  found = {k: v for k, v in bucket.listing().items() if k == "" or wanted(k)}
  if not found:
    raise FileNotFoundError(f"there is nothing at {address}")
  index = place.parent / (place.name + _INDEX)
  known = read_json(index) if index.is_file() else {}
  for name, version in found.items():
    target = place / name if name else place
    if known.get(name) != version or not target.is_file():
      bucket.read(name, target)
      known[name] = version
      write_json(index, known, indent=None)
  return place


class Bucket:
  """The objects below an address; every request is repeated while the store fails."""

  def __init__(self, address: str | os.PathLike):
    """Connects; raises ImportError if the library is not installed."""
    scheme, self._root = _parts(address)
    self.address = f"{scheme}://{self._root}"
    library = _LIBRARIES[scheme]
    try:
      importlib.import_module(library)
    except ImportError as error:
      raise ImportError(
        f"{self.address}: {scheme}:// needs {library}: pip install -e '.[{scheme}]' in "
        "the clone of fskd_jax"
      ) from error
    fsspec: Any = importlib.import_module("fsspec")
    self._files = fsspec.filesystem(scheme, use_listings_cache=False)

  def listing(self) -> dict[str, list[Any]]:
    """Returns [size, version] of the objects by path; the address itself is ""."""
    found = self._again(
      f"list {self.address}", lambda: self._files.find(self._root, detail=True)
    )
    sizes = {}
    for key, about in found.items():
      version = about.get("ETag") or about.get("etag") or about.get("md5Hash")
      name = key.removeprefix(self._root).removeprefix("/")
      if about.get("type") == "file" and not name.endswith("/"):
        sizes[name] = [about["size"], version]
    return sizes

  def read(self, name: str, target: pathlib.Path) -> None:
    """Copies an object to a file, which appears once it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)

    def read() -> None:
      size = self._files.info(self._key(name))["size"]
      with atomic_path(target) as unfinished:
        self._files.get_file(self._key(name), str(unfinished))
        if unfinished.stat().st_size != size:
          raise OSError(f"{unfinished.stat().st_size} of {size} bytes came")

    self._again(f"read {self.address}/{name}".rstrip("/"), read)

  def write(self, name: str, source: pathlib.Path) -> None:
    """Copies a file to an object, which appears once it is complete."""

    def write() -> None:
      content = source.read_bytes()
      self._files.pipe_file(self._key(name), content)
      size = self._files.info(self._key(name))["size"]
      if size != len(content):
        raise OSError(f"{size} of {len(content)} bytes arrived")

    self._again(f"write {self.address}/{name}", write)

  def remove(self, name: str) -> None:
    """Removes an object that may be gone already."""

    def remove() -> None:
      if self._files.exists(self._key(name)):
        self._files.rm_file(self._key(name))

    self._again(f"remove {self.address}/{name}", remove)

  def _key(self, name: str) -> str:
    return f"{self._root}/{name}" if name else self._root

  def _again(self, what: str, request: Callable[[], Result]) -> Result:
    """Repeats a request until it succeeds; errors name what was asked for."""
    for attempt in range(ATTEMPTS):
      try:
        return request()
      except FileNotFoundError as error:
        raise FileNotFoundError(f"cannot {what}: there is no such thing") from error
      except PermissionError as error:
        raise PermissionError(f"cannot {what}: {error}") from error
      except Exception as error:  # each library has its own
        if attempt == ATTEMPTS - 1:
          raise OSError(f"cannot {what}: {type(error).__name__}: {error}") from error
        _log.info("cannot %s, trying again: %s", what, error)
        time.sleep(0.5 * 2**attempt * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


def _parts(address: str | os.PathLike) -> tuple[str, str]:
  match = _ADDRESS.fullmatch(os.fspath(address))
  if match is None:
    raise ValueError(f"{address} is no address gs:// or s3://")
  return match[1], match[2].rstrip("/")
