"""Signals that ask a run to end, and the moment at which all its processes do so.

A program listens (`listening`). While nothing needs saving, a signal ends it at once.
Within `deferred`, all processes ask `requested` at the same points, once a step and
once a validation batch, and get the same answer: with several processes that is JAX's
synchronisation point, which makes all of them stop at the same call. A second signal
ends a process at once in any case, also while XLA compiles.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

from fskd_jax.device import watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""The signals of clusters, of Ctrl-C, and of SLURM with `--signal=USR1@60`."""

_PATIENCE = 10.0
"""Seconds that a program with nothing to save may take to end by itself."""

_listener: "_Listener | None" = None
_asked = 0  # calls of `requested`, the same number on every process
_is_reached = False


class Stopped(SystemExit):
  """The end of a program that a signal asked for; `code` is its exit status."""


class Interrupted(Exception):
  """The run is about to stop, so what is under way need not be finished."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
  """Hears `SIGNALS` within the context, in the main thread; elsewhere does nothing.

  With several processes, enter it after `parallel.start_processes`.
  """
  global _listener
  if _listener or threading.current_thread() is not threading.main_thread():
    yield
    return
  _listener = _Listener()
  try:
    yield
  finally:
    _listener.close()
    _listener = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """Keeps signals for `requested` within the context.

  Raises:
    Stopped: A signal came before.
  """
  if _listener is None:
    yield
    return
  _listener.is_deferred = True
  try:
    if jax.process_count() == 1 and _listener.came:
      raise stopped()
    yield
  finally:
    _listener.is_deferred = False


def requested() -> bool:
  """Returns whether the run is to be saved and ended now, once it is for ever.

  All processes call it equally often.
  """
  global _asked, _is_reached
  if jax.process_count() == 1:
    return _listener is not None and _listener.is_deferred and bool(_listener.came)
  _asked += 1
  watch.beat()
  _is_reached |= multihost_utils.reached_preemption_sync_point(_asked)
  return _is_reached


def leave_if_requested() -> None:
  """Leaves a validation that need not be finished.

  All processes call it equally often.

  Raises:
    Interrupted: The run is to be saved and ended.
  """
  if requested():
    raise Interrupted


def is_agreed() -> bool:
  """Returns whether all processes have learnt of the signal, and stop together."""
  return _is_reached


def stopped() -> Stopped:
  """Returns the end of this process: 130 after Ctrl-C, 143 after other signals."""
  return Stopped(_status(_listener.came if _listener else None))


def reason() -> str:
  """Returns the name of the signal, or who else was asked."""
  came = _listener.came if _listener else None
  return came.name if came else "a signal to another process"


def _status(came: signal.Signals | None) -> int:
  return 128 + (signal.SIGINT if came == signal.SIGINT else signal.SIGTERM)


class _Listener:
  """Handlers of the signals, and a thread that hears them while the main one is busy.

  Attributes:
    came: The first signal, None before.
    is_deferred: Whether signals wait for `requested`.
  """

  def __init__(self) -> None:
    self.came: signal.Signals | None = None
    self.is_deferred = self._is_told = False
    self._tell_jax = _jax_handler() if jax.process_count() > 1 else None
    self._ours, self._kernels = socket.socketpair()
    self._kernels.setblocking(False)
    self._wakeup = signal.set_wakeup_fd(self._kernels.fileno())
    self._previous = {number: signal.signal(number, self._heard) for number in SIGNALS}
    self._thread = threading.Thread(target=self._listen, daemon=True)
    self._thread.start()

  def close(self) -> None:
    """Gives the signals back to whoever had them."""
    for number, handler in self._previous.items():
      # None is a handler that is not Python's: JAX's, which is of no use any more.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    signal.set_wakeup_fd(self._wakeup)
    self._kernels.close()  # ends the thread
    self._thread.join()
    self._ours.close()

  def _heard(self, number: int, _: object) -> None:
    """Ends a program with nothing to save; Python calls it in the main thread."""
    self.came = self.came or signal.Signals(number)
    if not self.is_deferred:
      raise stopped()

  def _listen(self) -> None:
    patience = None
    while True:
      ready, _, _ = select.select([self._ours], [], [], patience)
      if not ready:
        os._exit(_status(self.came))
      number = self._ours.recv(1)
      if not number:
        return
      if number[0] not in SIGNALS:
        continue
      if patience is not None or (self.is_deferred and self._is_told):
        _say(f"{signal.Signals(number[0]).name} again: ending at once")
        os._exit(_status(self.came))
      self.came = self.came or signal.Signals(number[0])
      if self.is_deferred:
        self._is_told = True
        _say(
          f"{self.came.name}: saving at the next step, then ending; a second signal "
          "ends at once"
        )
        if self._tell_jax:
          self._tell_jax(signal.SIGTERM)
      else:
        _say(f"{self.came.name}: ending, nothing needs saving")
        patience = _PATIENCE


def _say(line: str) -> None:
  os.write(2, f"{line}\n".encode())  # loggers may be locked by the main thread


def _jax_handler() -> Callable[[int], None] | None:
  """Takes SIGTERM away from JAX, and returns its handler.

  JAX has one, in C++, for SIGTERM alone; what it does not learn it cannot tell the
  other processes.
  """
  system = ctypes.CDLL(None).signal
  system.restype, system.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
  address = system(signal.SIGTERM, None)
  if address in (None, 0, 1):  # the default, or ignored
    return None
  return ctypes.CFUNCTYPE(None, ctypes.c_int)(address)
