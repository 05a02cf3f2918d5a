"""Downloads a file whose digest is known, and goes on with one that broke off.

With urllib of the standard library: the package depends on no library that resumes and
verifies (TensorFlow Datasets' downloader does not resume).
"""

import hashlib
import http.client
import pathlib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from tqdm import tqdm

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

ATTEMPTS = 5
"""Attempts in a row that bring no new byte, before giving up."""

_CHUNK = 2**20

_BROKEN = (
  urllib.error.URLError,
  http.client.HTTPException,
  ConnectionError,
  TimeoutError,
  ssl.SSLError,
)
"""Errors of a connection, and not of the disk."""


def download(url: str, path: pathlib.Path, sha256: str, size: int | None) -> None:
  """Downloads a file, which appears under its name once its digest is right.

  What has come is kept as PATH.part, and a later call goes on behind it.

  Args:
    url: Its address, https or http.
    path: Its new place, in a folder that exists.
    sha256: Its digest, in hexadecimal.
    size: Number of its bytes; None if not known.

  Raises:
    ConnectionError: The address cannot be reached, or breaks off again and again.
    ValueError: What came is another file; it is deleted.
    OSError: The file cannot be written.
  """
  part = path.with_name(path.name + ".part")
  _fetch(url, part, size)
  found = digest(part)
  if found != sha256:
    part.unlink()
    raise ValueError(
      f"{url} is not the file that is expected: its SHA-256 is {found}, not {sha256}; "
      "what came is deleted"
    )
  part.replace(path)


def digest(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file, in hexadecimal.

  Raises:
    OSError: The file cannot be read.
  """
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, part: pathlib.Path, size: int | None) -> None:
  """Fetches what is missing of a file, in as many attempts as it takes."""
  failures = 0
  with (
    tqdm(None, part.stem, size, unit="B", unit_scale=True, disable=None) as bar,
    part.open("ab") as file,
  ):
    while size is None or file.tell() < size:
      before = file.tell()
      try:
        _fetch_once(url, file, size, bar)
        if size is None:
          break
        reason = "it broke off"
      except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing behind what has come
          file.truncate(0)
        elif error.code < 500:
          raise ConnectionError(f"{url}: {error}") from error
        reason = str(error)
      except _BROKEN as error:
        reason = str(getattr(error, "reason", error))
      file.seek(0, 2)
      failures = 0 if file.tell() > before else failures + 1
      if failures == ATTEMPTS:
        kept = f"; {file.tell()} bytes are kept in {part}" if file.tell() else ""
        raise ConnectionError(f"{url}: {reason}{kept}")
  if size is not None and part.stat().st_size > size:
    part.unlink()
    raise ValueError(
      f"{url} is not the file that is expected: it has more than {size} bytes; "
      "what came is deleted"
    )


def _fetch_once(url: str, file: IO[bytes], size: int | None, bar: tqdm) -> None:
  """Appends what one connection gives."""
  start = file.tell()
  request = urllib.request.Request(url, headers={"User-Agent": "fskd_jax"})
  if start:
    request.add_header("Range", f"bytes={start}-")
  with _opener(url).open(request, timeout=TIMEOUT) as response:
    span = response.headers.get("Content-Range", "")
    if start and not (response.status == 206 and span.startswith(f"bytes {start}-")):
      file.truncate(0)  # the server starts from the beginning
      file.seek(0)
    bar.n = file.tell()
    for chunk in _chunks(response):
      file.write(chunk)
      bar.update(len(chunk))
      if size is not None and file.tell() > size:
        break


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
  while chunk := response.read1(_CHUNK):
    yield chunk
  if response.length:  # read1 does not say that a connection was cut
    raise http.client.IncompleteRead(b"", response.length)


class _Redirects(urllib.request.HTTPRedirectHandler):
  """Follows redirects to the web only, and from https only to https."""

  def __init__(self, scheme: str):
    self._allowed = ("https",) if scheme == "https" else ("https", "http")

  def redirect_request(
    self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
  ) -> urllib.request.Request | None:
    scheme = urllib.parse.urlsplit(newurl).scheme
    if scheme not in self._allowed:
      raise ValueError(f"{req.full_url} leads to {newurl}, which is not followed")
    return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
  scheme = urllib.parse.urlsplit(url).scheme
  if scheme not in ("https", "http"):
    raise ValueError(f"{url}: expected an address that begins with https://")
  return urllib.request.build_opener(_Redirects(scheme))
