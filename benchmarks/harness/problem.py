"""What is measured: a problem, its sides, and the ways to run each of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

SIZES = ("small", "full")
MEMORY_LIMIT = 8 * 2**30
"""Nothing that is known to need more bytes is run."""


class Setup(NamedTuple):
  """How much is measured.

  Attributes:
    size: "small" is to see that everything works, "full" is what is published.
    device: "cpu" or "gpu".
    repeats: rounds of a problem, at most.
    seconds: what the rounds of a problem may take; a few are always made.
  """

  size: str
  device: str
  repeats: int
  seconds: float

  @property
  def is_full(self) -> bool:
    """Says whether the size is "full"."""
    return self.size == "full"

  @property
  def precisions(self) -> tuple[str, ...]:
    """Returns what both frameworks compute in."""
    return ("float32", "tf32", "bfloat16") if self.device == "gpu" else ("float32",)


class Side(NamedTuple):
  """One implementation, loaded and compiled.

  Attributes:
    run: does the work once and waits for the end of it.
    numbers: what of its result is compared with the other sides.
    prepare_seconds: tracing and compilation.
    cost: "flops" of the program by XLA, "xla_bytes" of temporaries and results.
    before: what is done before a timed run.
  """

  run: Callable[[], Any]
  numbers: Callable[[Any], list[np.ndarray]]
  prepare_seconds: float = 0.0
  cost: Mapping[str, float] = {}
  before: Callable[[], None] = lambda: None


Builder = Callable[[], Side]
"""Loads and compiles; called only where the side is run."""


class Work(NamedTuple):
  """The least a problem costs: arithmetic, and bytes to and from memory."""

  flops: float
  bytes: float

  def __add__(self, other: "Work") -> "Work":
    return Work(self.flops + other.flops, self.bytes + other.bytes)

  def times(self, factor: float) -> "Work":
    """Returns as many of it."""
    return Work(self.flops * factor, self.bytes * factor)


class SkippedError(Exception):
  """A side is not run; says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
  """One row of a table.

  Attributes:
    name: unique within its case.
    variables: what the plots are drawn over, and what tells the problem from others.
    sides: by name, the ways to run it, of which the fastest is measured. Ratios are
      of the first side to each other one.
    checks: pairs of sides that must give the same numbers; None: the first side and
      every other.
    limit: of the largest difference, as a part of the largest absolute value.
    memory: measure the peak memory of every side, in a process of its own.
    is_long: a run takes a minute or so: one is checked, one at least is timed, and
      memory is measured without another one before.
    work: by formula, for the floor.
    items: images (or whatever is counted) that one run handles.
  """

  name: str
  variables: Mapping[str, Any]
  sides: Mapping[str, Mapping[str, Builder]]
  checks: tuple[tuple[str, str], ...] | None = None
  limit: float = 1e-3
  memory: bool = False
  is_long: bool = False
  work: Work | None = None
  items: int = 0
