"""All-reduces of a compiled program, from the text of its optimised HLO."""

import math
import re
from typing import Any, NamedTuple

_OPERATION = re.compile(r" = (?P<shape>.*?) all-reduce(?:-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+)(\d+)(?:e\w+)?\[([\d,]*)\]")


class AllReduce(NamedTuple):
  """One operation: how many arrays it carries, and their bytes."""

  arrays: int
  bytes: int


def all_reduces(hlo: str) -> list[AllReduce]:
  """Finds the all-reduces of a program, largest first."""
  found = []
  for line in hlo.splitlines():
    match = _OPERATION.search(line)
    if match:
      arrays = _ARRAY.findall(match["shape"])
      found.append(AllReduce(len(arrays), sum(_bytes(*array) for array in arrays)))
  return sorted(found, key=lambda x: -x.bytes)


def summary(hlo: str) -> dict[str, Any]:
  """Returns the number of all-reduces, their bytes, and the largest ones."""
  found = all_reduces(hlo)
  return {
    "all_reduces": len(found),
    "bytes": sum(x.bytes for x in found),
    "largest": [x._asdict() for x in found[:8]],
  }


def _bytes(kind: str, bits: str, dimensions: str) -> int:
  sizes = [int(size) for size in dimensions.split(",") if size]
  return math.prod(sizes) * max(int(bits) // 8, 1)
