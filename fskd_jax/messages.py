"""Wording of messages: first of many cases, long values, odd names, file at fault."""

import contextlib
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

SHOWN = 5
"""Cases that a message tells."""

_LONGEST = 500  # letters of a case
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxstring, _REPR.maxother = 3, 8, 100, 100
_REPR.maxlist = _REPR.maxtuple = 16
DAMAGE = (
  ArithmeticError,
  AttributeError,
  LookupError,
  MemoryError,
  RuntimeError,  # RecursionError is one
  TypeError,
  ValueError,
)
"""What damaged content makes fail, in libraries that do not look for it."""


def first(cases: Iterable[str], separator: str = "; ") -> str:
  """Joins the first cases, and says how many more there are."""
  cases = [*cases]
  more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
  return separator.join(map(cut, cases[:SHOWN])) + more


def cut(case: object) -> str:
  """Returns the text of a case or of an error, or its start where it is long."""
  text = str(case)
  return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def printable(name: str) -> str:
  """Returns a file name as text that every format and message can hold.

  A control character becomes %0A, and a byte that is no UTF-8 (which Python has as half
  of a surrogate pair) %E9, as in web addresses.
  """
  odd = "[\0-\x1f\x7f\udc80-\udcff]"
  text = re.sub(odd, lambda c: f"%{ord(c[0]) % 0xDC00:02X}", name)
  return text.encode("utf-8", "replace").decode()


def raise_if(cases: Sequence[str], kind: Callable[[str], Exception], what: str) -> None:
  """Raises an error that tells the first cases, if there are any."""
  if cases:
    raise kind(f"{what}: {first(cases)}")


def shown(value: Any) -> str:
  """Returns a value as messages show it: its repr, shortened if large or deep."""
  return _REPR.repr(value)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
  """Context of reading a file: what its content makes fail becomes a ValueError.

  Raises:
    ValueError: names the file. An OSError passes, because it names its file already.
  """
  try:
    yield
  except DAMAGE as error:
    if isinstance(error, ValueError):
      if os.fspath(path) in str(error):
        raise
      raise ValueError(f"{path}: {cut(error)}") from error
    what = f"{type(error).__name__}: {cut(error)}"
    raise ValueError(
      f"{path}: damaged, or not laid out as expected ({what})"
    ) from error
