"""One writer of a workdir: a lease, which its holder renews while it lives.

It is a small file in the workdir, a folder or a bucket. A second training is refused
while the holder lives: on the same machine that is known at once, of another machine
the lease counts for three periods after its last renewal, so clocks must agree to
within a minute. Whoever finds that another holds its lease stops writing.
"""

import contextlib
import json
import logging
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, Protocol

from fskd_jax.files import create_bytes, write_bytes

_log = logging.getLogger(__name__)

NAME = "lease.json"
"""The file's name."""

PERIOD = 30.0
"""Seconds from one renewal to the next."""

_PERIODS = 3
_TAKES = 5  # attempts, 0.2 s apart
_GUARDED = 60.0  # seconds, of which two file operations need a few thousandths


class Store(Protocol):
  """The place of a lease."""

  def read(self) -> bytes | None:
    """Returns the content, None without one."""
    ...

  def create(self, content: bytes) -> bool:
    """Writes the first content; returns False where there is one."""
    ...

  def replace(self, old: bytes, content: bytes) -> bool:
    """Writes new content; returns False where the content is no longer `old`."""
    ...

  def write(self, content: bytes) -> None:
    """Writes the content, whatever is there."""
    ...

  def remove(self) -> None:
    """Removes the content."""
    ...


class Folder:
  """The lease of a folder, which several hosts may see."""

  def __init__(self, folder: pathlib.Path):
    self._path = folder / NAME

  def read(self) -> bytes | None:
    """Returns the content, None without one."""
    try:
      return self._path.read_bytes()
    except FileNotFoundError:
      return None

  def create(self, content: bytes) -> bool:
    """Writes the first content; returns False where there is one."""
    return create_bytes(self._path, content)

  def replace(self, old: bytes, content: bytes) -> bool:
    """Writes new content; returns False where the content is no longer `old`."""
    guard = self._path.with_name(f"{NAME}.guard.part")
    if not create_bytes(guard, b""):  # one process at a time compares and writes
      with contextlib.suppress(FileNotFoundError):
        if time.time() - guard.stat().st_mtime > _GUARDED:
          guard.unlink()  # it was killed in between
      return False
    try:
      is_same = self.read() == old
      if is_same:
        write_bytes(self._path, content)
      return is_same
    finally:
      guard.unlink()

  def write(self, content: bytes) -> None:
    """Writes the content, whatever is there."""
    if not self._path.parent.is_dir():  # which write_bytes would make
      raise FileNotFoundError(f"there is no folder {self._path.parent} any more")
    write_bytes(self._path, content)

  def remove(self) -> None:
    """Removes the content."""
    self._path.unlink(missing_ok=True)


class Lease:
  """The right to write to a workdir."""

  def __init__(self, store: Store, place: str):
    """Names this holder.

    Args:
      store: Where the lease is kept.
      place: The workdir, for messages.
    """
    self._store, self._place = store, place
    self._me = {
      "holder": f"process {os.getpid()} on {socket.gethostname()}",
      "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
      "machine": _machine(),
      "process": os.getpid(),
      "started": _started(os.getpid()),
      "id": uuid.uuid4().hex,
    }

  @contextlib.contextmanager
  def held(self) -> Iterator[None]:
    """Takes the lease, renews it within the context, and gives it back.

    Raises:
      ValueError: Another training holds it.
      OSError: The workdir cannot be written to.
    """
    self.take()
    stop = threading.Event()
    renewer = threading.Thread(target=self._keep_renewing, args=(stop,), daemon=True)
    renewer.start()
    try:
      yield
    finally:
      stop.set()
      renewer.join()
      self.release()

  def take(self) -> None:
    """Takes the lease, also from a holder that is gone.

    Raises:
      ValueError: Another training holds it; the message names its process and host.
    """
    for attempt in range(_TAKES):
      if self._store.create(self._content()):
        return
      content = self._store.read()
      other = _parsed(content or b"")
      if not other and attempt < _TAKES - 1:
        time.sleep(0.2)  # it has gone, or may be about to be written
        continue
      if other and not _is_over(other):
        raise ValueError(
          f"another training is running in {self._place} ({other['holder']} since "
          f"{other['since']}, seen {_age(other):.0f} s ago): wait until it ends, end "
          "it, or name another workdir"
        )
      if self._store.replace(content or b"", self._content()):
        holder = other.get("holder", "a process that was killed")
        _log.warning("%s: taken over from %s, which is gone", self._place, holder)
        return
      time.sleep(0.2)
    raise ValueError(f"other trainings start in {self._place}, too: start one alone")

  def check(self) -> None:
    """Checks that no other training has taken over, which would be overwritten.

    Raises:
      ValueError: One has, since this process was not heard of for too long.
      FileNotFoundError: The lease is gone, as when the disk was unmounted: another
        folder of the same name would be written to.
    """
    content = self._store.read()
    if content is None:
      raise FileNotFoundError(
        f"{NAME} is gone from {self._place}: either the disk was unmounted or the "
        "folder emptied, or another training has taken over and ended; nothing more is "
        "written, and the same command goes on from what is there"
      )
    other = _parsed(content)
    if other and other["id"] != self._me["id"]:
      raise ValueError(
        f"{self._place} has been taken over by {other['holder']}, because this process "
        f"was not heard of for {_PERIODS * PERIOD:.0f} s; nothing more is written"
      )

  def renew(self) -> None:
    """Writes that the holder lives; raises as `check`."""
    self.check()
    self._store.write(self._content())

  def release(self) -> None:
    """Lets another training write at once, unless it does already."""
    with contextlib.suppress(ValueError, OSError):
      self.check()
      self._store.remove()

  def _keep_renewing(self, stop: threading.Event) -> None:
    while not stop.wait(PERIOD):
      try:
        self.renew()
      except OSError as error:  # the disk may come back
        _log.warning("%s: cannot renew the lease: %s", self._place, error)
      except ValueError:  # which the next checkpoint finds, too
        return

  def _content(self) -> bytes:
    return json.dumps(self._me | {"time": time.time()}).encode() + b"\n"


def _parsed(content: bytes) -> dict[str, Any]:
  """Returns what a lease says; {} if it is cut off or of another version."""
  try:
    found = json.loads(content)
  except ValueError:
    return {}
  known = {"holder", "since", "machine", "process", "started", "id", "time"}
  return found if isinstance(found, dict) and known <= found.keys() else {}


def _is_over(lease: dict[str, Any]) -> bool:
  """Returns whether the holder has ended, or was not heard of for too long."""
  if lease["machine"] == _machine() and lease["started"]:
    return _started(lease["process"]) != lease["started"]
  return _age(lease) > _PERIODS * PERIOD


def _age(lease: dict[str, Any]) -> float:
  return max(0.0, time.time() - lease["time"])


def _machine() -> str:
  """Returns a name that processes share whose numbers mean the same."""
  names = [socket.gethostname()]
  for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
    with contextlib.suppress(OSError):  # there is none but on Linux
      is_link = os.path.islink(path)
      names.append(os.readlink(path) if is_link else pathlib.Path(path).read_text())
  return " ".join(name.strip() for name in names)


def _started(process: int) -> str | None:
  """Returns when a process of this machine started; None if that is unknown."""
  try:
    status = pathlib.Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return None
  state, *fields = status.rpartition(")")[2].split()
  return None if state in "ZX" else fields[18]
