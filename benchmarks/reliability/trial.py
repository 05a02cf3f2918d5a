"""What one class of faults tries, where it does so, and when a trial has held."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple


class Place(NamedTuple):
  """Where trials work.

  Attributes:
    tree: checkout of the code that is tried.
    work: empty folder for the class.
    common: folder that classes share: a data cache and a trained run.
    is_full: many trials instead of a few.
    seed: of random damages.
  """

  tree: pathlib.Path
  work: pathlib.Path
  common: pathlib.Path
  is_full: bool
  seed: int = 0

  def few(self, items: Sequence[Any], count: int) -> Sequence[Any]:
    """Returns all items, or, for a small size, `count` of them spread evenly."""
    if self.is_full or len(items) <= count:
      return items
    return [items[i * len(items) // count] for i in range(count)]


class Trial(NamedTuple):
  """One thing that is tried; `run` raises if it did not hold."""

  name: str
  run: Callable[[], None]


class Ended(NamedTuple):
  """A command that ended: its exit status, and all that it printed."""

  status: int
  text: str

  @property
  def last(self) -> str:
    """The last line printed."""
    return (self.text.strip().splitlines() or [""])[-1]


class Failure(AssertionError):
  """A trial that did not hold; the message says what came instead."""


def check(is_right: Any, text: str) -> None:
  """Raises `Failure` with a text unless something is right."""
  if not is_right:
    raise Failure(text)


def fskd(*words: Any) -> Ended:
  """Runs the command `fskd` in this process; what it does not catch comes out here."""
  from fskd_jax.cli import main

  printed = io.StringIO()
  with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    try:
      status = main.main([str(word) for word in words])
    except SystemExit as error:  # argparse
      status = error.code if isinstance(error.code, int) else 2
  return Ended(status, printed.getvalue())


def check_explained(ended: Ended, *words: str, quiet: bool = True) -> None:
  """Checks that a command ended with an error in one line that names the cause.

  Args:
    ended: the command.
    words: one of them must be in the last line.
    quiet: whether a traceback above that line is a failure, too.
  """
  check(ended.status not in (0, None), f"exit 0: {ended.last[:200]}")
  check(ended.status > 0, f"ended by signal {-ended.status}: {ended.last[:200]}")
  is_traced = "Traceback (most recent call last)" in ended.text
  check(not (quiet and is_traced), f"traceback: {ended.last[:200]}")
  named = any(word.lower() in ended.last.lower() for word in words)
  check(named or not words, f"names none of {words}: {ended.last[:200]}")


def check_refused(call: Callable[[], Any], *words: str) -> None:
  """Checks that a function refuses: ValueError, OSError or ImportError that says why.

  Args:
    call: the function.
    words: one of them must be in the message.
  """
  try:
    call()
  except (ValueError, OSError, ImportError) as error:
    named = any(word.lower() in str(error).lower() for word in words)
    check(named or not words, f"names none of {words}: {str(error)[:200]}")
    return
  raise Failure("taken without a word")


class Program:
  """A program of the tree that runs, and prints into a file."""

  def __init__(self, place: Place, name: str, *words: Any, before: Sequence[str] = ()):
    """Starts it.

    Args:
      place: where.
      name: `train.py` or `evaluate.py`.
      words: arguments.
      before: a command in front, such as `unshare -rm`.
    """
    with tempfile.NamedTemporaryFile(dir=place.work, delete=False) as printed:
      self._printed = pathlib.Path(printed.name)
      self._process = subprocess.Popen(
        [*before, sys.executable, str(place.tree / name), *map(str, words)],
        stdout=printed,
        stderr=subprocess.STDOUT,
        cwd=place.work,
        env=os.environ | {"PYTHONPATH": str(place.tree)},
        start_new_session=True,
        preexec_fn=_listen,
      )

  @property
  def is_running(self) -> bool:
    """Whether it has not ended yet."""
    return self._process.poll() is None

  @property
  def text(self) -> str:
    """What it has printed."""
    return self._printed.read_text(errors="replace")

  def ended(self, seconds: float = 600) -> Ended:
    """Waits for its end.

    Raises:
      Failure: it takes too long; it is killed.
    """
    try:
      status = self._process.wait(seconds)
    except subprocess.TimeoutExpired as error:
      self.kill()
      raise Failure(f"hangs: still there after {seconds:.0f} s") from error
    return Ended(status, self.text)

  def megabytes(self) -> float:
    """Returns its resident memory."""
    path = pathlib.Path(f"/proc/{self._process.pid}/statm")
    return int(path.read_text().split()[1]) * 4096 / 2**20

  def send(self, number: int) -> None:
    """Sends a signal."""
    self._process.send_signal(number)

  def kill(self) -> None:
    """Kills it and its children."""
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()


def _listen() -> None:
  """Lets Ctrl-C be heard, which programs started in the background ignore."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


def script(place: Place, name: str, *words: Any, before: Sequence[str] = ()) -> Ended:
  """Runs a program of the tree to its end, see `Program`."""
  return Program(place, name, *words, before=before).ended()


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
  """Ends what runs in this process after some seconds with a `Failure`."""

  def end(*_: Any) -> None:
    raise Failure(f"still running after {seconds} s")

  previous = signal.signal(signal.SIGALRM, end)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
