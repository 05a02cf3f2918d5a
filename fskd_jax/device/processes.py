"""Communication between the processes of a run outside the training steps.

All processes call every function of this module in the same order. A single process
passes straight through. `parallel` starts the processes and runs their steps.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.experimental import multihost_utils

from fskd_jax.messages import join_first

T = TypeVar("T")


def gather(message: str) -> list[str]:
  """Returns the messages of all processes, in their order."""
  if jax.process_count() == 1:
    return [message]
  data = np.frombuffer(message.encode(), np.uint8)
  sizes = np.ravel(multihost_utils.process_allgather(np.array([len(data)], np.int32)))
  padded = np.pad(data, (0, sizes.max() + 1 - len(data)))  # no array may be empty
  rows = np.asarray(multihost_utils.process_allgather(padded))
  return [bytes(row[:size]).decode() for row, size in zip(rows, sizes)]


def check_same(facts: Callable[[], Mapping[str, Any]], hint: str = "") -> None:
  """Checks that every process has the same facts.

  Args:
    facts: A function that returns the facts by name, values that JSON can hold. A
      single process does not call it.
    hint: Advice that follows the list of differences.

  Raises:
    ValueError: On every process: some facts differ; the message lists them and the
      processes that have each value.
  """
  if jax.process_count() == 1:
    return
  # Values are compared as text, because nan does not equal itself.
  mine = json.dumps({name: json.dumps(value) for name, value in facts().items()})
  by_process = [json.loads(message) for message in gather(mine)]
  differences = []
  for name in sorted(set().union(*by_process)):
    having: dict[str, list[int]] = {}
    for process, found in enumerate(by_process):
      having.setdefault(found.get(name, "absent"), []).append(process)
    if len(having) > 1:
      differences.append(f"{name} is " + ", ".join(map(_who, having.items())))
  if differences:
    raise ValueError(
      f"the processes of this run differ: {join_first(differences)}"
      + (f"; {hint}" if hint else "")
    )


def together(work: Callable[[], T]) -> T:
  """Does work on every process; if it fails on one process, it fails on all.

  Args:
    work: A function that does not itself communicate with the other processes: they
      might wait for ever.

  Raises:
    ValueError: The work failed on another process, which the message names.
  """
  result, failure = None, None
  try:
    result = work()
  except Exception as error:  # whatever it is, the others must not wait
    failure = error
  messages = gather("" if failure is None else f"{type(failure).__name__}: {failure}")
  if failure is not None:
    raise failure
  failed = [f"process {i}: {message}" for i, message in enumerate(messages) if message]
  if failed:
    raise ValueError(join_first(failed))
  return cast(T, result)


def main_first(work: Callable[[], T]) -> T:
  """Does work on process 0, then on all others, which find its files on disk.

  Raises:
    ValueError: As for `together`.
  """
  if jax.process_count() == 1:
    return work()
  if jax.process_index() == 0:
    done = together(work)
    return together(lambda: done)
  together(lambda: None)
  return together(work)


def _who(case: tuple[str, list[int]]) -> str:
  value, processes = case
  word = "process" if len(processes) == 1 else "processes"
  return f"{value} on {word} {', '.join(map(str, processes))}"
