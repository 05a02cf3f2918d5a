"""A workdir in a bucket: a folder of this machine that is sent there as it changes.

A checkpoint counts once its last object, `_CHECKPOINT_METADATA`, is there, so a program
that ends while it sends leaves nothing that looks complete.
"""

import contextlib
import logging
import os
import pathlib
import shutil
import threading
from collections.abc import Iterable, Iterator

import jax

from fskd_jax.buckets import lease as leases
from fskd_jax.buckets.copies import Bucket, copy_of, fetch, is_address
from fskd_jax.buckets.lease import Lease
from fskd_jax.files import write_bytes

_log = logging.getLogger(__name__)

PERIOD = 30.0
"""Seconds between two looks at what has changed."""

_COMPLETE = "_CHECKPOINT_METADATA"
"""The file of a checkpoint that is sent last."""


@contextlib.contextmanager
def mirrored(
  workdir: str | os.PathLike, *, is_training: bool = False
) -> Iterator[pathlib.Path]:
  """Provides a workdir as a folder of this machine, a bucket's through a copy.

  What changes in the copy is sent every `PERIOD` seconds and at the end, also after an
  error or a signal. A checkpoint is sent after all that was written before it.

  Args:
    workdir: A folder, or an address gs:// or s3://.
    is_training: Whether the workdir is new or goes on, and has one writer; otherwise it
      must exist, and nothing is removed from the bucket.

  Raises:
    ValueError: Another training writes there.
    FileNotFoundError: There is no run at the address.
    ImportError, OSError: As `copies.local`.
  """
  if not is_address(workdir):
    yield pathlib.Path(workdir)
    return
  bucket, folder = Bucket(workdir), copy_of(workdir)
  lease = Lease(_Leased(bucket, folder.parent / leases.NAME), bucket.address)
  mirror = _Mirror(bucket, folder, lease if is_training else None)
  with lease.held() if is_training else contextlib.nullcontext():
    mirror.pull()
    if jax.process_count() > 1:
      mirror.push()  # the others start from what is in the bucket
    stop = threading.Event()
    sender = threading.Thread(target=mirror.keep_sending, args=(stop,), daemon=True)
    sender.start()
    try:
      yield folder
    finally:
      stop.set()
      sender.join()
      mirror.push()


def followed(workdir: str | os.PathLike) -> pathlib.Path:
  """Returns a workdir for a process that does not write: a bucket's checkpoints as now.

  They are in a new folder of this process; nothing that is written there is sent.

  Args:
    workdir: A folder, or an address gs:// or s3://.

  Raises:
    As `copies.local`.
  """
  if not is_address(workdir):
    return pathlib.Path(workdir)
  folder = copy_of(workdir)
  folder = folder.with_name(f"{folder.name}.process{jax.process_index()}")
  shutil.rmtree(folder, ignore_errors=True)
  (folder / "checkpoints").mkdir(parents=True)
  complete = {str(step) for step in _steps(Bucket(workdir).listing())}
  if complete:
    fetch(workdir, folder, lambda name: _step_of(name) in complete)
  return folder


class _Leased:
  """The lease of a bucket; implements `lease.Store`. `file` is its copy."""

  def __init__(self, bucket: Bucket, file: pathlib.Path):
    self._bucket, self._file = bucket, file

  def read(self) -> bytes | None:
    try:
      self._bucket.read(leases.NAME, self._file)
    except FileNotFoundError:
      return None
    return self._file.read_bytes()

  def create(self, content: bytes) -> bool:
    is_free = self.read() is None
    if is_free:
      self.write(content)
    return is_free

  def replace(self, old: bytes, content: bytes) -> bool:
    is_same = self.read() == old
    if is_same:
      self.write(content)
    return is_same

  def write(self, content: bytes) -> None:
    write_bytes(self._file, content)
    self._bucket.write(leases.NAME, self._file)

  def remove(self) -> None:
    self._bucket.remove(leases.NAME)


class _Mirror:
  def __init__(self, bucket: Bucket, folder: pathlib.Path, lease: Lease | None):
    self.folder = folder
    self._bucket, self._lease = bucket, lease
    self._sent: dict[str, tuple[int, int]] = {}

  def pull(self) -> None:
    """Brings the copy up to date, unless its newest checkpoint is newer."""
    there = self._bucket.listing()
    if not there and not self._lease:
      raise FileNotFoundError(f"there is no run at {self._bucket.address}")
    newest = max(_steps(there), default=-1)
    if self.folder.is_dir() and max(_steps(_files(self.folder)), default=-1) > newest:
      _log.warning(
        "%s is behind its copy %s, which is sent now",
        self._bucket.address, self.folder,
      )  # fmt: skip
      return
    for step in set(_steps(_files(self.folder))) - set(_steps(there)):
      shutil.rmtree(self.folder / "checkpoints" / str(step))
    complete = {str(step) for step in _steps(there)}
    self.folder.mkdir(parents=True, exist_ok=True)
    if set(there) - {leases.NAME}:
      fetch(
        self._bucket.address,
        self.folder,
        lambda name: name != leases.NAME and _step_of(name) in (None, *complete),
      )
    self._sent = {n: s for n, s in _files(self.folder).items() if n in there}

  def push(self) -> None:
    """Sends what has changed, checkpoints last, and drops those that are gone here."""
    if self._lease:
      self._lease.check()
    steps = _steps(_files(self.folder))  # first: what they need is complete by now
    named = {str(step) for step in steps}
    files = _files(self.folder)
    wanted = [n for n in files if _step_of(n) in (None, *named)]
    wanted.sort(key=lambda n: (_step_of(n) is not None, n.endswith("/" + _COMPLETE), n))
    for name in wanted:
      if self._sent.get(name) != files[name]:
        try:
          self._bucket.write(name, self.folder / name)
        except FileNotFoundError:  # dropped since it was listed
          continue
        self._sent[name] = files[name]
    if self._lease:
      gone = [n for n in self._sent if _step_of(n) not in (None, *named)]
      for name in sorted(gone, key=lambda n: not n.endswith("/" + _COMPLETE)):
        self._bucket.remove(name)
        del self._sent[name]

  def keep_sending(self, stop: threading.Event) -> None:
    """Sends every `PERIOD` seconds until told to stop; failures are tried again."""
    while not stop.wait(PERIOD):
      try:
        self.push()
      except (OSError, ValueError) as error:
        _log.warning("%s (a copy is in %s)", error, self.folder)


def _files(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
  """Returns the size and the time of every complete file, by its path in the folder."""
  found = {}
  for path in folder.rglob("*"):
    name = path.relative_to(folder).as_posix()
    if (
      name != leases.NAME
      and not name.endswith(".part")
      and ".orbax-checkpoint-tmp" not in name
    ):
      with contextlib.suppress(FileNotFoundError):
        if path.is_file():
          about = path.stat()
          found[name] = (about.st_size, about.st_mtime_ns)
  return found


def _step_of(name: str) -> str | None:
  """Returns the checkpoint that a file belongs to."""
  parts = name.split("/")
  return parts[1] if parts[0] == "checkpoints" and len(parts) > 2 else None


def _steps(names: Iterable[str]) -> list[int]:
  """Returns the steps whose checkpoints are complete."""
  parts = [name.split("/") for name in names]
  steps = [p[1] for p in parts if p[0] == "checkpoints" and p[2:] == [_COMPLETE]]
  return sorted(int(step) for step in steps if step.isdecimal())
