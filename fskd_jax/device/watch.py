"""Watches the processes of a run, so that a lost one ends it soon and by name.

JAX alone waits for minutes and then aborts with a page of C++ frames that names nobody.
Here every process holds a connection to process 0 and says once a second that it lives
and how far it has come. When one does not start, dies, falls silent or lags behind, all
others print one line with its number and host, and end with `LOST`.
"""

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from typing import Any, cast

from fskd_jax.config import TrainConfig
from fskd_jax.device.roll import Roll

LOST = 75
"""Exit status after a loss (EX_TEMPFAIL): all are to be started again, and resume."""

_PERIOD = 1.0  # seconds between signs of life

_watch: "_Watch | None" = None


def start(host: str, port: int, count: int, index: int, limits: TrainConfig) -> None:
  """Waits until all processes have called this, and watches them from then on.

  Args:
    host: The host of process 0.
    port: A free port of that host, where process 0 listens.
    count: The number of processes.
    index: The number of this process, from 0.
    limits: Its fields `join_seconds`, `silent_seconds` and `lag_seconds`.

  Raises:
    OSError: A process has not come in time, or the port is taken.
  """
  global _watch
  keeper = None
  if index == 0:
    roll = Roll(count, limits.silent_seconds, limits.lag_seconds)
    keeper = _serve(roll, port, limits.join_seconds)
  try:
    _watch = _Watch(host, port, count, index, limits)
  except OSError:
    if keeper:
      keeper.join(5 * _PERIOD)  # it may not have told all others yet
    raise


def beat() -> None:
  """Notes that this process has come one place further; all pass the same places."""
  if _watch:
    _watch.count += 1


def settle() -> None:
  """Waits until a lost process would be known, of which this one ends by name.

  JAX hears of a loss first, and raises an error that names nobody.
  """
  if _watch:
    time.sleep(8 * _PERIOD)


def leave(failure: str = "") -> None:
  """Leaves the watch: the others do not miss this process when it ends."""
  global _watch
  if _watch:
    _watch.leave(failure)
    _watch = None


class _Watch:
  """The connection of a process; a thread that sends signs of life and hears verdicts.

  Attributes:
    count: How far this process has come.
  """

  def __init__(self, host: str, port: int, count: int, index: int, limits: TrainConfig):
    self.count, self._silent = 0, limits.silent_seconds
    self._index, self._place = index, f"process 0 at {host}:{port}"
    self._is_leaving = False
    # Process 0 alone knows who is missing, and says so when the time is up.
    self._line = _connected(host, port, limits.join_seconds)
    try:
      self._send(process=index, host=socket.gethostname())
      self._line.settimeout(limits.join_seconds + 10)
      self._lines = self._line.makefile("rb")
      answer = json.loads(self._lines.readline() or b"{}")
    except OSError as error:
      raise OSError(f"{self._place} does not answer: {error}") from error
    if "joined" not in answer:
      lost = answer.get("lost", f"{self._place} has ended")
      raise OSError(f"{lost}; start all {count} processes")
    self._line.settimeout(self._silent)
    threading.Thread(target=self._live, daemon=True).start()
    threading.Thread(target=self._listen, daemon=True).start()

  def leave(self, failure: str) -> None:
    self._is_leaving = not failure  # JAX may keep one that failed from ending
    with contextlib.suppress(OSError):
      self._send(left=True, failure=failure[:500])

  def _send(self, **content: Any) -> None:
    self._line.sendall(json.dumps(content).encode() + b"\n")

  def _live(self) -> None:
    with contextlib.suppress(OSError):
      while not self._is_leaving:
        self._send(count=self.count)
        time.sleep(_PERIOD)

  def _listen(self) -> None:
    lost, gone = "", f"{self._place} has ended"
    try:
      while not lost:
        line = self._lines.readline()
        lost = json.loads(line).get("lost", "") if line else gone
    except TimeoutError:
      lost = f"{self._place} has been silent for {self._silent:g} s"
    except (OSError, ValueError):
      lost = gone
    if lost == gone:
      time.sleep(5 * _PERIOD)  # this process may be about to end with the same error
    if not self._is_leaving:
      if self._index == 0:
        time.sleep(_PERIOD)  # until the others have heard it, too
      told = f"{lost}; process {self._index} ends, too (start all again: they resume)"
      os.write(2, f"\n{told}\n".encode())  # loggers may be locked; the last line
      os._exit(LOST)


def _connected(host: str, port: int, seconds: float) -> socket.socket:
  """Connects to process 0, which may start later than this one."""
  deadline = time.monotonic() + seconds
  while True:
    try:
      return socket.create_connection((host, port), timeout=5)
    except OSError as error:
      if time.monotonic() > deadline:
        raise OSError(
          f"process 0 cannot be reached at {host}:{port} after {seconds:g} s "
          f"({error}): has it started, and is the port open?"
        ) from error
      time.sleep(0.2)


def _serve(roll: Roll, port: int, join_seconds: float) -> threading.Thread:
  """Starts the thread of process 0 that keeps the roll, and returns it."""
  dual = socket.has_dualstack_ipv6()
  try:
    listener = socket.create_server(
      ("", port),
      family=socket.AF_INET6 if dual else socket.AF_INET,
      dualstack_ipv6=dual,
    )
  except OSError as error:
    raise OSError(
      f"port {port} is taken ({error}): processes watch each other on the port after "
      "the coordinator's; name another --coordinator"
    ) from error
  options = {"daemon": True, "args": (roll, listener, join_seconds)}
  keeper = threading.Thread(target=_keep, **options)
  keeper.start()
  return keeper


def _keep(roll: Roll, listener: socket.socket, join_seconds: float) -> None:
  """Hears all processes, and tells them when all have joined or one is lost."""
  lines: dict[socket.socket, bytes] = {}  # what came of an unfinished line
  is_joined, deadline = False, time.monotonic() + join_seconds
  with selectors.DefaultSelector() as ready:
    ready.register(listener, selectors.EVENT_READ)
    while True:
      for key, _ in ready.select(_PERIOD):
        line = cast(socket.socket, key.fileobj)
        if line is listener:
          line, _ = listener.accept()
          line.settimeout(5)
          lines[line] = b""
          ready.register(line, selectors.EVENT_READ)
        elif not _heard(roll, line, lines):
          ready.unregister(line)
          del lines[line]
      now = time.monotonic()
      if not is_joined and not roll.missing():
        is_joined = True
        _tell(lines, {"joined": True})
        roll.begin(now)
      lost = roll.lost(now) if is_joined else ""
      if not is_joined and now > deadline:
        lost = f"{roll.missing()} not started or not reached in {join_seconds:g} s"
      if is_joined or lost:
        _tell(lines, {"lost": lost} if lost else {})
      if lost:
        return


def _heard(roll: Roll, line: Any, lines: dict[Any, bytes]) -> bool:
  """Passes what came on to the roll; returns whether the connection still stands."""
  try:
    came = line.recv(4096)
  except OSError:
    came = b""
  if not came:
    roll.ended(line)
    return False
  *whole, lines[line] = (lines[line] + came).split(b"\n")
  for text in whole:
    with contextlib.suppress(ValueError):  # of a stranger
      roll.said(line, json.loads(text), time.monotonic())
  return True


def _tell(lines: dict[socket.socket, bytes], content: dict[str, Any]) -> None:
  for line in lines:
    with contextlib.suppress(OSError):
      line.sendall(json.dumps(content).encode() + b"\n")
