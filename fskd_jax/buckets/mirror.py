"""A workdir in a bucket: a folder of this machine that is sent there as it changes.

A checkpoint counts once its last object, `_CHECKPOINT_METADATA`, is there, so a program
that ends while it sends leaves nothing that looks complete.
"""

import contextlib
import logging
import os
import pathlib
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import jax

from fskd_jax.buckets.copies import Bucket, copy_of, fetch, is_address
from fskd_jax.files import read_json, write_json

_log = logging.getLogger(__name__)

PERIOD = 30.0
"""Seconds between two looks at what has changed."""

LEASE = "lease.json"
"""Names the training that writes; it counts for three periods, and is renewed."""

_COMPLETE = "_CHECKPOINT_METADATA"
"""The file of a checkpoint that is sent last."""

_STAYS = ("lock", LEASE)


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
    ValueError: Several processes name a bucket, or another training writes there.
    FileNotFoundError: There is no run at the address.
    ImportError, OSError: As `copies.local`.
  """
  if not is_address(workdir):
    yield pathlib.Path(workdir)
    return
  if jax.process_count() > 1:
    raise ValueError(
      f"{workdir}: a bucket as workdir is for one process; give several a folder that "
      "all of them see, such as the bucket mounted with gcsfuse or mount-s3"
    )
  mirror = _Mirror(Bucket(workdir), copy_of(workdir), is_training)
  mirror.pull()
  stop = threading.Event()
  sender = threading.Thread(target=mirror.keep_sending, args=(stop,), daemon=True)
  sender.start()
  try:
    yield mirror.folder
  finally:
    stop.set()
    sender.join()
    mirror.push()
    mirror.release()


class _Mirror:
  def __init__(self, bucket: Bucket, folder: pathlib.Path, is_training: bool):
    self.folder = folder
    self._bucket, self._is_training = bucket, is_training
    self._me = f"process {os.getpid()} on {socket.gethostname()}"
    self._sent: dict[str, tuple[int, int]] = {}

  def pull(self) -> None:
    """Brings the copy up to date, unless its newest checkpoint is newer."""
    if self._is_training:
      self._take_lease()
    there = self._bucket.listing()
    if not there and not self._is_training:
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
    if set(there) - set(_STAYS):
      fetch(
        self._bucket.address,
        self.folder,
        lambda name: name not in _STAYS and _step_of(name) in (None, *complete),
      )
    self._sent = {n: s for n, s in _files(self.folder).items() if n in there}

  def push(self) -> None:
    """Sends what has changed, checkpoints last, and drops those that are gone here."""
    if self._is_training:
      self._take_lease()
    steps = _steps(_files(self.folder))  # first: what they need is complete by now
    named = {str(step) for step in steps}
    files = _files(self.folder)
    wanted = [n for n in files if n not in _STAYS and _step_of(n) in (None, *named)]
    wanted.sort(key=lambda n: (_step_of(n) is not None, n.endswith("/" + _COMPLETE), n))
    for name in wanted:
      if self._sent.get(name) != files[name]:
        try:
          self._bucket.write(name, self.folder / name)
        except FileNotFoundError:  # dropped since it was listed
          continue
        self._sent[name] = files[name]
    if self._is_training:
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

  def release(self) -> None:
    """Lets another training write at once."""
    if self._is_training:
      self._bucket.remove(LEASE)

  def _take_lease(self) -> None:
    own = self.folder.parent / LEASE
    if LEASE in self._bucket.listing():
      self._bucket.read(LEASE, own)
      lease = read_json(own)
      age = time.time() - lease["time"]
      if lease["holder"] != self._me and age < 3 * PERIOD and not _is_over(lease):
        raise ValueError(
          f"another training writes to {self._bucket.address} ({lease['holder']}, "
          f"{age:.0f} s ago): wait until it ends, or name another workdir"
        )
      if lease["holder"] != self._me:
        _log.warning("%s takes over from %s", self._me, lease["holder"])
    host, process = socket.gethostname(), os.getpid()
    lease = {"holder": self._me, "host": host, "process": process, "time": time.time()}
    write_json(own, lease)
    self._bucket.write(LEASE, own)


def _is_over(lease: dict[str, Any]) -> bool:
  """Returns whether the process of a lease was one of this host, and has ended."""
  if lease["host"] != socket.gethostname():
    return False
  try:
    os.kill(lease["process"], 0)
  except ProcessLookupError:
    return True
  except PermissionError:
    pass
  return False


def _files(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
  """Returns the size and the time of every complete file, by its path in the folder."""
  found = {}
  for path in folder.rglob("*"):
    name = path.relative_to(folder).as_posix()
    if not name.endswith(".part") and ".orbax-checkpoint-tmp" not in name:
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
