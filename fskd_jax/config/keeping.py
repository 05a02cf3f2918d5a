"""Keeps what is made from a configuration, for the next that is like it."""

import collections
from collections.abc import Callable
from typing import Any, TypeVar

MOST = 32
"""Things that are kept; the one that was not asked for longest goes first."""

_T = TypeVar("_T")
_kept: collections.OrderedDict[str, Any] = collections.OrderedDict()


def kept(key: tuple[Any, ...], make: Callable[[], _T]) -> _T:
  """Returns what an earlier call made for the same key, otherwise makes it.

  A second training or evaluation in a process so finds its programs traced and
  compiled. What is made must follow from the key alone: it is better a whole
  configuration than a list of its fields, in which the next field is missing.

  Args:
    key: What it is, and all that it is made from. Keys are the same if they print
      alike: a configuration can change, so it has no hash.
    make: Makes it, from copies of what can change.
  """
  text = repr(key)
  if text not in _kept:
    made = make()
    _kept[text] = made
    while len(_kept) > MOST:
      _kept.popitem(last=False)
  _kept.move_to_end(text)
  return _kept[text]


def forget() -> None:
  """Forgets all that was kept."""
  _kept.clear()
