"""Measures a problem: checks that all sides agree, then times them round by round."""

import gc
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.harness import floor, memory
from benchmarks.harness.problem import Builder, Problem, Setup, Side, SkippedError
from benchmarks.opponents import pytorch

CHECKED_RUNS = 2
"""Results of the first runs are compared: the second sees what the first updated."""
LEAST_ROUNDS = 3


class CheckError(Exception):
  """Two sides that must agree do not."""


class _Prepared(NamedTuple):
  """A side after its first runs, and what to write about it."""

  side: Side
  numbers: list[np.ndarray]
  entry: dict[str, Any]


def measure(
  problem: Problem, setup: Setup, case: str, peak: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the entry of a problem for the results; of a side that fails, why.

  Args:
    problem: what is measured.
    setup: how often.
    case: module the problem is from; its sides are found there again when their
      memory is measured in another process.
    peak: of the machine, see `machine.peak`.

  Raises:
    CheckError: sides do not give the same numbers; names them.
  """
  prepared, entries = {}, {}
  pytorch.forget_compiled()
  for name, variants in problem.sides.items():
    try:
      prepared[name] = _fastest(variants, 1 if problem.is_long else CHECKED_RUNS)
      entries[name] = prepared[name].entry
    except SkippedError as reason:
      entries[name] = {"skipped": str(reason)}
    except Exception as error:  # the other sides are still worth measuring
      traceback.print_exc()
      entries[name] = {"failed": described(error)}
  if not prepared:
    raise RuntimeError("; ".join(f"{k}: {x}" for k, x in entries.items()))
  entry: dict[str, Any] = {
    "case": case,
    "problem": problem.name,
    "variables": dict(problem.variables),
    "check": check(problem, {name: x.numbers for name, x in prepared.items()}),
    "sides": entries,
  }
  sides = {name: x.side for name, x in prepared.items()}
  del prepared
  least = 1 if problem.is_long else LEAST_ROUNDS
  samples = time_rounds(sides, setup.repeats, setup.seconds, least)
  for name, seconds in samples.items():
    entries[name]["seconds"] = summary(seconds)
    if problem.items:
      entries[name]["items_per_second"] = problem.items / np.median(seconds).item()
  entry["ratios"] = ratios(samples, next(iter(problem.sides)))
  if problem.work:
    medians = {
      name: x["seconds"]["median"] for name, x in entries.items() if "seconds" in x
    }
    precision = problem.variables.get("precision", "float32")
    entry["floor"] = floor.distance(problem.work, peak[precision], medians)
  on_gpu = setup.device == "gpu"
  if problem.memory and on_gpu:
    for name, side in sides.items():
      entries[name] |= memory.on_gpu(side)
  del sides
  gc.collect()
  if on_gpu:
    torch.cuda.empty_cache()  # JAX is on the device, too
  elif problem.memory:
    for name in samples:
      entries[name] |= memory.in_process(
        setup, case, problem.name, name, entries[name]["variant"]
      )
  return entry


def described(error: Exception) -> str:
  """Returns kind and message of an error, the message cut to a few lines."""
  return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _fastest(variants: Mapping[str, Builder], runs: int) -> _Prepared:
  """Builds and tries every way to run a side; keeps the fastest."""
  best, seconds = None, {}
  for variant, build in variants.items():
    side = build()
    numbers, first = [], 0.0
    for number in range(runs):
      elapsed, result = _time(side)
      numbers += side.numbers(result)
      first = first if number else elapsed
    seconds[variant] = elapsed
    if elapsed == min(seconds.values()):
      entry = {
        "variant": variant,
        "prepare_seconds": side.prepare_seconds,
        "first_seconds": first,
        **side.cost,
      }
      best = _Prepared(side, numbers, entry)
    del side, result
    gc.collect()
  assert best is not None
  if len(variants) > 1:
    best.entry["variant_seconds"] = seconds
  return best


def _time(side: Side) -> tuple[float, Any]:
  side.before()
  start = time.perf_counter()
  result = side.run()
  return time.perf_counter() - start, result


def check(
  problem: Problem, numbers: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Any] | None:
  """Compares the sides that were run.

  Returns:
    The largest relative difference and its limit; None if nothing was compared.

  Raises:
    CheckError: it is above the limit, or not a number.
  """
  first, *others = problem.sides
  pairs = problem.checks if problem.checks is not None else [(first, x) for x in others]
  errors = {}
  for a, b in pairs:
    if a in numbers and b in numbers:
      pairwise = zip(numbers[a], numbers[b], strict=True)
      error = max(relative_difference(x, y) for x, y in pairwise)
      if not error <= problem.limit:
        raise CheckError(
          f"{problem.name}: {a} and {b} differ by {error:.1e} of the largest value, "
          f"limit {problem.limit:.0e}"
        )
      errors[f"{a} and {b}"] = error
  return {"errors": errors, "limit": problem.limit} if errors else None


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the largest difference as a part of the largest absolute value.

  Raises:
    CheckError: the shapes differ.
  """
  if a.shape != b.shape:
    raise CheckError(f"shapes differ: {a.shape} and {b.shape}")
  largest = np.abs(b).max()
  return float(np.abs(a - b).max() / (largest if largest > 0 else 1))


def time_rounds(
  sides: Mapping[str, Side],
  repeats: int,
  seconds: float,
  least: int = LEAST_ROUNDS,
  clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
  """Times sides in rounds, each side once in a round, in turns of forth and back.

  Of two sides these are pairs whose order alternates, so that a machine that slows
  down or speeds up favours neither.

  Args:
    sides: by name.
    repeats: rounds.
    seconds: no further round is begun after these, once there are enough.
    least: rounds that are enough.
    clock: tells the time.
  """
  samples: dict[str, list[float]] = {name: [] for name in sides}
  begun = clock()
  for number in range(repeats):
    if number >= least and clock() - begun > seconds:
      break
    order = list(sides) if number % 2 == 0 else list(sides)[::-1]
    for name in order:
      sides[name].before()
      start = clock()
      sides[name].run()
      samples[name].append(clock() - start)
  return samples


def ratios(samples: Mapping[str, Sequence[float]], first: str) -> dict[str, Any]:
  """Summarises the ratio of the first side to each other one, round by round."""
  if first not in samples:
    return {}
  return {
    name: summary(np.divide(samples[first], seconds))
    for name, seconds in samples.items()
    if name != first
  }


def summary(values: Iterable[float]) -> dict[str, float]:
  """Returns median, quartiles and extremes."""
  values = np.fromiter(values, float)
  names = ("min", "q1", "median", "q3", "max")
  found = dict(zip(names, np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()))
  return {**found, "count": len(values)}
