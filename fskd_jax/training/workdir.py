"""Opens the folder of a run, which one training at a time writes to."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

import jax

from fskd_jax.buckets import mirror
from fskd_jax.buckets.lease import Folder, Lease
from fskd_jax.device import processes

# One slash is enough, because pathlib turns gs://bucket into gs:/bucket.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


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
def on_this_machine(
  workdir: str | os.PathLike, *, is_training: bool = False
) -> Iterator[pathlib.Path]:
  """Provides a workdir as a folder of this machine; see `mirror.mirrored`.

  Process 0 alone sends to a bucket; the others have the checkpoints that there were at
  the start (`mirror.followed`). All processes call this.

  Raises:
    ValueError: Another training writes there, or another process failed.
    FileNotFoundError, ImportError, OSError: As `mirror.mirrored`.
  """
  is_main = jax.process_index() == 0
  with contextlib.ExitStack() as opened:
    mirrored = mirror.mirrored(workdir, is_training=is_training)
    begin = lambda: opened.enter_context(mirrored) if is_main else None
    folder = processes.together(begin)
    yield processes.together(lambda: folder or mirror.followed(workdir))


@contextlib.contextmanager
def held_for_writing(workdir: pathlib.Path) -> Iterator[Lease]:
  """Creates a workdir and leases it from other trainings, but not from readers.

  Process 0 holds the lease (`buckets.lease`). All processes call this.

  Yields:
    The lease, which processes other than 0 do not hold.

  Raises:
    ValueError: Another training holds the workdir. The message names its process, its
      host and its start.
    OSError: The workdir cannot be created or written to.
  """
  lease = Lease(Folder(workdir), str(workdir))
  with contextlib.ExitStack() as held:
    is_main = jax.process_index() == 0
    lock = _held(lease, workdir) if is_main else contextlib.nullcontext()
    processes.together(lambda: held.enter_context(lock))
    yield lease


@contextlib.contextmanager
def _held(lease: Lease, workdir: pathlib.Path) -> Iterator[None]:
  with contextlib.ExitStack() as held:
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      held.enter_context(lease.held())
    except OSError as error:
      raise OSError(
        f"cannot write to the workdir {workdir}: {error.strerror}"
      ) from error
    yield
