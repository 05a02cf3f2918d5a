"""How messages tell of many cases: the first ones, and how many more there are."""

from collections.abc import Callable, Iterable, Sequence

SHOWN = 5
"""Cases that a message tells."""


def first(cases: Iterable[str], separator: str = "; ") -> str:
  """Joins the first cases, and says how many more there are."""
  cases = [*cases]
  more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
  return separator.join(cases[:SHOWN]) + more


def raise_if(cases: Sequence[str], kind: Callable[[str], Exception], what: str) -> None:
  """Raises an error that tells the first cases, if there are any."""
  if cases:
    raise kind(f"{what}: {first(cases)}")
