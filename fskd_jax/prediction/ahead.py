"""Reads the next images while the network and the pictures of the last ones run."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

AHEAD = 4
"""Number of results that wait at most: images of 12 megapixels take 36 MB each."""


def mapped(
  function: Callable[[T], U], items: Iterable[T]
) -> Iterator[tuple[T, Callable[[], U]]]:
  """Calls a function in threads, some items ahead.

  Args:
    function: Function that may run in several threads at once.
    items: Its arguments.

  Yields:
    The items in their order, each with a function that waits for its result and returns
    it, or raises the error of the call.
  """
  waiting: collections.deque[tuple[T, Future[U]]] = collections.deque()
  pool = ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1))
  try:
    for item in items:
      waiting.append((item, pool.submit(function, item)))
      if len(waiting) > AHEAD:
        first, result = waiting.popleft()
        yield first, result.result
        del result
    while waiting:
      first, result = waiting.popleft()
      yield first, result.result
      del result
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
