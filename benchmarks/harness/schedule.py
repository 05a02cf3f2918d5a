"""Which problems are still to be measured, and whether there is time for them."""

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.harness.problem import Problem
from benchmarks.harness.runner import described

Entry = dict[str, Any]

BEGUN = "the program ended while this was measured"
"""The "error" of a problem from its beginning until its entry is there.

A crash of a framework ends the program. The next call then begins with the others. What
an earlier call measured of the problem stays until then.
"""


class Deadline:
  """The time by which to be done; no problem is begun that would take longer."""

  def __init__(
    self, seconds: float = math.inf, clock: Callable[[], float] = time.perf_counter
  ):
    """Starts the clock.

    Args:
      seconds: From now on.
      clock: Tells the time.
    """
    self.clock = clock
    self._end, self._seconds = clock() + seconds, seconds

  def reason(self, needed: float) -> str:
    """Returns why something that takes so many seconds is not begun; "" if it is."""
    left = self._end - self.clock()
    if needed <= left:
      return ""
    return (
      f"takes about {needed:.0f} s, of {self._seconds / 60:.3g} minutes "
      f"{max(left, 0):.0f} s were left"
    )


def measured(
  problems: Sequence[Problem],
  known: Sequence[Entry],
  measure: Callable[[Problem], Entry],
  deadline: Deadline,
  only: str = "",
) -> Iterator[tuple[Entry, list[Entry]]]:
  """Measures what is missing, and after that again what failed.

  Args:
    problems: Of a case, the most important first.
    known: Entries that are there already; those of no problem are dropped.
    measure: Returns the entry of a problem. What it raises becomes the entry's "error".
    deadline: A problem is taken to need as long as the longest so far of its
      variables["part"], or of all where that was not measured yet.
    only: Problems without this in their name are not measured.

  Yields:
    Before and after each problem its entry, and the entries of all problems so far, in
    order. Before it the entry is an error, `BEGUN`; of a problem that was not begun it
    says why: "left_out".
  """
  names = [problem.name for problem in problems]
  entries = {x["problem"]: x for x in known if x["problem"] in names}
  wanted = [problem for problem in problems if only in problem.name]
  tried = {name for name, x in entries.items() if "sides" in x or "error" in x}
  fresh = [x for x in wanted if x.name not in tried]
  failed = [x for x in wanted if has_failed(entries.get(x.name, {}))]
  for problem in (*fresh, *failed):
    about = {"problem": problem.name, "variables": dict(problem.variables)}
    reason = deadline.reason(_estimate(problem, list(entries.values())))
    begun = deadline.clock()
    if not reason:
      kept = entries[problem.name] if problem in failed else about
      entries[problem.name] = kept | {"error": BEGUN}
      yield entries[problem.name], _in_order(entries, names)
      try:
        entry = measure(problem)
      except Exception as error:  # the other problems are still worth measuring
        traceback.print_exc()
        entry = about | {"error": described(error)}
      entries[problem.name] = entry | {"wall_seconds": deadline.clock() - begun}
    elif problem in fresh:
      entries[problem.name] = about | {"left_out": reason}
    yield entries[problem.name], _in_order(entries, names)


def _in_order(entries: Mapping[str, Entry], names: Sequence[str]) -> list[Entry]:
  return [entries[name] for name in names if name in entries]


def has_failed(entry: Mapping[str, Any]) -> bool:
  """Says whether a problem, or a side of it, ended with an error."""
  sides = entry.get("sides", {}).values()
  return "error" in entry or any("failed" in side for side in sides)


def _estimate(problem: Problem, entries: Sequence[Entry]) -> float:
  """Returns how many seconds a problem will take, by those that were measured."""
  part = problem.variables.get("part")
  done = [x for x in entries if "sides" in x and "wall_seconds" in x]
  alike = [x for x in done if x["variables"].get("part") == part]
  return max((x["wall_seconds"] for x in alike or done), default=0.0)
