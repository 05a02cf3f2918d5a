"""Reads lists, tuples, texts and numbers that were pickled, without unpickling them.

A pickle is a program; `pickle.load` runs it, and it may call any function. Here its
instructions are listed by `pickletools`, and only those that build plain values are
carried out. Pandas stores the names of columns in this way.
"""

import pickletools
from typing import Any

_MOST_BYTES = 2**24

_MARK = object()
_VALUES = frozenset(
  "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT STRING BINSTRING "
  "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))


def parse(data: bytes) -> Any:
  """Returns the value of a pickle of dicts, lists, tuples, texts, numbers and None.

  Raises:
    ValueError: The pickle is damaged, longer than 16 MiB, or builds anything else.
  """
  if len(data) > _MOST_BYTES:
    raise ValueError(f"a pickle of {len(data)} bytes, expected at most {_MOST_BYTES}")
  stack: list[Any] = []
  memo: dict[int, Any] = {}
  try:
    for operation, argument, _ in pickletools.genops(data):
      _do(operation.name, argument, stack, memo)
    (value,) = stack
  except (IndexError, KeyError, TypeError, AttributeError, UnicodeError) as error:
    raise ValueError(f"a damaged pickle ({type(error).__name__}: {error})") from error
  return value


def _do(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
  """Carries out one instruction.

  Raises:
    ValueError: The instruction does not build a plain value.
  """
  if name in _VALUES:
    stack.append(argument)
  elif name in _CONSTANTS:
    stack.append(_CONSTANTS[name])
  elif name == "MARK":
    stack.append(_MARK)
  elif name in ("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT"):
    stack.append({"EMPTY_LIST": [], "EMPTY_TUPLE": (), "EMPTY_DICT": {}}[name])
  elif name in ("LIST", "TUPLE"):
    items = _marked(stack)
    stack.append(items if name == "LIST" else tuple(items))
  elif name == "DICT":
    stack.append(_pairs(_marked(stack)))
  elif name in _TUPLES:
    items = [stack.pop() for _ in range(_TUPLES[name])]
    stack.append(tuple(reversed(items)))
  elif name == "APPEND":
    item = stack.pop()
    stack[-1].append(item)
  elif name == "APPENDS":
    items = _marked(stack)
    stack[-1].extend(items)
  elif name == "SETITEM":
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value
  elif name == "SETITEMS":
    items = _marked(stack)
    stack[-1].update(_pairs(items))
  elif name in _PUTS:
    memo[argument] = stack[-1]
  elif name == "MEMOIZE":
    memo[len(memo)] = stack[-1]
  elif name in _GETS:
    stack.append(memo[argument])
  elif name not in ("PROTO", "FRAME", "STOP"):
    raise ValueError(
      f"a pickle with the instruction {name}, expected lists and texts only"
    )


def _marked(stack: list[Any]) -> list[Any]:
  """Takes the values above the last mark from the stack, and the mark."""
  items: list[Any] = []
  while (item := stack.pop()) is not _MARK:
    items.append(item)
  return items[::-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
  return dict(zip(items[::2], items[1::2], strict=True))
