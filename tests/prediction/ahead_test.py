"""Reading ahead: the order, the errors and the bound on what waits."""

import threading

import pytest

from fskd_jax.prediction import ahead


def test_results_and_errors_come_in_order():
  later = threading.Event()

  def slow_first(i):
    if i == 0:
      assert later.wait(10)
    if i == 1:
      later.set()
    if i == 2:
      raise ValueError("broken")
    return 10 * i

  found = []
  for i, result in ahead.mapped(slow_first, range(9)):
    try:
      found.append((i, result()))
    except ValueError as error:
      found.append((i, str(error)))
  expected = [(i, 10 * i) for i in range(9)]
  expected[2] = (2, "broken")
  assert found == expected


def test_no_more_than_so_many_wait():
  begun = []
  waiting = ahead.mapped(begun.append, range(100))
  for i, result in waiting:
    result()
    assert len(begun) <= i + 1 + ahead.AHEAD
    if i == 20:
      break
  assert len(begun) <= 21 + ahead.AHEAD


def test_an_error_of_the_caller_ends_the_reading():
  begun = []
  with pytest.raises(KeyError):
    for i, result in ahead.mapped(begun.append, range(100)):
      result()
      if i == 3:
        raise KeyError
  assert len(begun) <= 4 + ahead.AHEAD
