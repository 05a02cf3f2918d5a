"""Parts of messages: shortened lists and values, printable names, the file at fault."""

import contextlib
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

SHOWN = 5
"""The largest number of cases that a message lists."""

_LONGEST = 500  # characters of a case
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
"""Errors that damaged content causes in libraries that do not check for it."""


def join_first(cases: Iterable[str], separator: str = "; ") -> str:
  """Joins the first cases, and adds the number of those left out."""
  cases = [*cases]
  more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
  return separator.join(map(cut, cases[:SHOWN])) + more


def cut(case: object) -> str:
  """Returns the text of a case or an error, cut off if it is long."""
  text = str(case)
  return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def printable(name: str) -> str:
  """Returns a file name as text that every format and message can hold.

  Control characters and bytes that are not UTF-8 (which Python represents as lone
  surrogates) are percent-encoded as in web addresses: %0A, %E9.
  """
  odd = "[\0-\x1f\x7f\udc80-\udcff]"
  text = re.sub(odd, lambda c: f"%{ord(c[0]) % 0xDC00:02X}", name)
  return text.encode("utf-8", "replace").decode()


def raise_if(cases: Sequence[str], kind: Callable[[str], Exception], what: str) -> None:
  """Raises an error that lists the first cases, if there are any."""
  if cases:
    raise kind(f"{what}: {join_first(cases)}")


def require_one_of(what: str, value: str, known: Iterable[str]) -> None:
  """Checks that a word is among those that are known.

  Raises:
    ValueError: It is not; names what it is, and the words.
  """
  known = tuple(known)
  if value not in known:
    raise ValueError(f"{what} {value!r}: choose one of {', '.join(known)}")


def shown(value: Any) -> str:
  """Returns the repr of a value, shortened if it is large or deep."""
  return _REPR.repr(value)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
  """Turns errors caused by the content of a file into a ValueError that names it.

  Raises:
    ValueError: The file is damaged. An OSError passes unchanged: it names its file.
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
