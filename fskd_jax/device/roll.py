"""The roll of a run's processes: who has come, how far, and who is lost. No clock."""

from collections.abc import Hashable, Mapping
from typing import Any

GRACE = 20.0
"""Seconds that the others have to end with the same error as a process that failed."""


class _Entry:
  """Knowledge of a process.

  Attributes:
    name: Its number and host.
    heard: When it last said something.
    count: How far it has come.
    behind: Since when another one has been further; None if none is.
    failure: The error that it ended with, "" without one.
    failed: When it said so.
    has_ended, has_left: Whether its connection ended, and whether on purpose.
  """

  def __init__(self, name: str, now: float):
    self.name, self.heard = name, now
    self.count, self.behind = 0, None
    self.has_ended = self.has_left = False
    self.failure, self.failed = "", 0.0


class Roll:
  """The roll that process 0 keeps; all times are arguments, in seconds."""

  def __init__(self, count: int, silent: float, lag: float):
    """Opens the roll.

    Args:
      count: The number of processes.
      silent: The time without a sign of life after which a process is lost.
      lag: The time that a process may be behind another one.
    """
    self._count, self._silent, self._lag = count, silent, lag
    self._entries: dict[int, _Entry] = {}
    self._number_of: dict[Hashable, int] = {}

  def said(self, line: Hashable, content: Any, now: float) -> None:
    """Takes down what came over a connection; what makes no sense is passed over.

    Args:
      line: The connection.
      content: {"process", "host"} first, then {"count"}, and {"left", "failure"}.
      now: The time.
    """
    if not isinstance(content, Mapping):
      return
    number = content.get("process")
    if isinstance(number, int) and 0 <= number < self._count:
      self._number_of[line] = number
      name = f"process {number} of {self._count} on {content.get('host', '?')}"
      self._entries[number] = _Entry(name, now)
    if line not in self._number_of:
      return
    entry = self._entries[self._number_of[line]]
    entry.heard = now
    entry.has_left |= bool(content.get("left"))
    if content.get("failure") and not entry.failure:
      entry.failure, entry.failed = str(content["failure"]), now
    if isinstance(count := content.get("count"), int) and count > entry.count:
      entry.count, entry.behind = count, None

  def ended(self, line: Hashable) -> None:
    """Takes down that a connection ended."""
    number = self._number_of.pop(line, None)
    if number is not None:
      self._entries[number].has_ended = True

  def begin(self, now: float) -> None:
    """Starts the clocks of silence, when all have come."""
    for entry in self._entries.values():
      entry.heard = now

  def missing(self) -> str:
    """Returns the processes that have not come, "" if all have."""
    absent = [
      f"process {n} of {self._count}"
      for n in range(self._count)
      if n not in self._entries or self._entries[n].has_ended
    ]
    return ", ".join(absent[:5]) + (
      f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    )

  def lost(self, now: float) -> str:
    """Returns what happened to the first process that is lost, "" if none is."""
    for entry in sorted(self._entries.values(), key=lambda entry: entry.failed):
      if entry.failure and now - entry.failed > GRACE:
        return f"{entry.name} ended: {entry.failure}"
    there = [entry for entry in self._entries.values() if not entry.has_left]
    furthest = max((entry.count for entry in self._entries.values()), default=0)
    for entry in there:
      if entry.has_ended:
        return f"{entry.name} died"
      if now - entry.heard > self._silent:
        return f"{entry.name} has been silent for {now - entry.heard:.0f} s"
      if entry.count < furthest and entry.behind is None:
        entry.behind = now
      if entry.behind is not None and now - entry.behind > self._lag:
        return (
          f"{entry.name} hangs: others wait for it since {now - entry.behind:.0f} s"
        )
    return ""
