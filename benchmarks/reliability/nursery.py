"""Programs that start at once: forks of a process that has imported what they need.

A start of the interpreter, JAX and TensorFlow takes longer than a small training; here
it is paid once. The process that forks never runs JAX itself.
"""

import os
import pathlib
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

from benchmarks.reliability.trial import Ended, Failure, check


def prepare() -> None:
  """Imports what programs need, so that forks have it."""
  import grain  # noqa: F401
  import tensorflow  # noqa: F401
  import tensorflow_datasets  # noqa: F401

  from fskd_jax import experiment  # noqa: F401
  from fskd_jax.cli import launch, main  # noqa: F401
  from fskd_jax.few_shot import task  # noqa: F401
  from fskd_jax.prediction import folders  # noqa: F401


class Fork:
  """A fork that runs a function or a program, and prints into a file."""

  def __init__(self, folder: pathlib.Path, run: Callable[[], object]):
    """Starts it.

    Args:
      folder: where it works and prints.
      run: what it does; an exception ends it with status 1.
    """
    handle, name = tempfile.mkstemp(dir=folder, prefix="printed_")
    self._printed, self._status = pathlib.Path(name), None
    sys.stdout.flush()
    self._process = os.fork()
    if self._process:
      os.close(handle)
      return
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.chdir(folder)
    status: object = 1
    try:
      run()
      status = 0
    except SystemExit as error:
      status = error.code or 0
    except BaseException:
      traceback.print_exc()
    finally:
      _leave(status)

  @property
  def is_running(self) -> bool:
    """Whether it has not ended yet."""
    if self._status is None:
      process, status = os.waitpid(self._process, os.WNOHANG)
      if process:
        self._status = os.waitstatus_to_exitcode(status)
    return self._status is None

  @property
  def text(self) -> str:
    """What it has printed."""
    return self._printed.read_text(errors="replace")

  def ended(self, seconds: float) -> Ended:
    """Waits for its end.

    Raises:
      Failure: it takes too long; it is killed.
    """
    deadline = time.monotonic() + seconds
    while self.is_running:
      if time.monotonic() > deadline:
        self.kill()
        raise Failure(f"hangs: still there after {seconds:.0f} s: {self.text[-300:]}")
      time.sleep(0.02)
    return Ended(int(self._status or 0), self.text)

  def send(self, number: int) -> None:
    """Sends a signal."""
    os.kill(self._process, number)

  def kill(self) -> None:
    """Kills it and its children, if it still runs."""
    if self.is_running:
      os.killpg(self._process, signal.SIGKILL)
      _, status = os.waitpid(self._process, 0)
      self._status = os.waitstatus_to_exitcode(status)


def _leave(status: object) -> None:
  """Ends a fork as the interpreter would: threads and handlers of `atexit` included."""
  import atexit
  import threading

  code = status if isinstance(status, int) else 1
  if isinstance(status, str):
    print(status, file=sys.stderr)
  try:
    for thread in threading.enumerate():
      if thread is not threading.current_thread() and not thread.daemon:
        thread.join()
    atexit._run_exitfuncs()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def program(folder: pathlib.Path, path: pathlib.Path, words: Sequence[str]) -> Fork:
  """Starts a Python file with arguments, as `python PATH WORDS` does."""

  def run() -> None:
    sys.argv = [str(path), *words]
    runpy.run_path(str(path), run_name="__main__")

  return Fork(folder, run)


def checked(folder: pathlib.Path, run: Callable[[], object]) -> None:
  """Runs a check in a fork.

  Raises:
    Failure: it raised; the message is the last line.
  """
  done = Fork(folder, run).ended(300)
  check(done.status == 0, done.last[-400:])
