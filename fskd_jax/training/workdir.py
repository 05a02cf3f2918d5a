"""Locks the folder of a run, so that one training at a time writes to it."""

import contextlib
import errno
import logging
import os
import pathlib
import re
import socket
import time
from collections.abc import Iterator
from typing import IO

import jax

from fskd_jax.device import processes

_log = logging.getLogger(__name__)

LOCK_FILE = "lock"

# One slash is enough, because pathlib turns gs://bucket into gs:/bucket.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of `flock` on file systems that have no locks."""


def local_path(path: str | os.PathLike) -> pathlib.Path:
  """Returns a path on this machine, without opening or creating anything.

  Raises:
    ValueError: The path is an address, such as gs://bucket/run.
  """
  if _SCHEME.match(os.fspath(path)):
    raise ValueError(
      f"{path} is an address, not a path of this machine; mount the bucket or share "
      "and name the folder where it is mounted"
    )
  return pathlib.Path(path)


@contextlib.contextmanager
def held_for_writing(workdir: pathlib.Path) -> Iterator[None]:
  """Creates a workdir and locks it against other trainings, but not against readers.

  Process 0 holds a lock on `<workdir>/lock`, which names the process. The kernel
  releases the lock when the process ends, however it ends. All processes call this.

  Raises:
    ValueError: Another training holds the workdir. The message names its process, its
      host and its start.
    OSError: The workdir cannot be created or written to.
  """
  with contextlib.ExitStack() as held:
    is_main = jax.process_index() == 0
    lock = _locked(workdir) if is_main else contextlib.nullcontext()
    processes.together(lambda: held.enter_context(lock))
    yield


@contextlib.contextmanager
def _locked(workdir: pathlib.Path) -> Iterator[None]:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / LOCK_FILE).open("a+", encoding="utf-8")
  except OSError as error:
    raise OSError(f"cannot write to the workdir {workdir}: {error.strerror}") from error
  with file:
    _lock(file, workdir)
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    file.flush()
    try:
      yield
    finally:
      # The file is kept, because another process may be about to lock it.
      file.truncate(0)


def _lock(file: IO[str], workdir: pathlib.Path) -> None:
  import fcntl  # exists on Unix only, and reading a run does not need it

  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    holder = file.read().strip() or "by a process that has not named itself yet"
    raise ValueError(
      f"another training is running in {workdir} ({holder}): wait until it ends, end "
      "it, or name another workdir"
    ) from error
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    _log.warning(
      "The file system of %s has no locks (%s): make sure yourself that no second "
      "training writes there",
      workdir,
      error.strerror,
    )
