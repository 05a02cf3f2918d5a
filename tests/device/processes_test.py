"""What processes tell each other; their messages are made up here.

`multiprocess_test` has real ones.
"""

import json
import math

import jax
import pytest

from fskd_jax.device import processes


@pytest.fixture
def say(monkeypatch):
  """Returns a function that adds what other processes say to this one's messages."""

  def set_others(*others):
    monkeypatch.setattr(jax, "process_count", lambda: 1 + len(others))
    monkeypatch.setattr(processes, "gather", lambda message: [message, *others])

  return set_others


def _told(**facts):
  return json.dumps({name: json.dumps(value) for name, value in facts.items()})


def test_one_process_needs_no_facts():
  assert processes.gather("ä") == ["ä"]
  processes.check_same(lambda: pytest.fail("asked for facts"))
  assert processes.main_first(lambda: 3) == processes.together(lambda: 3) == 3


def test_equal_facts_pass(say):
  say(_told(rate=math.nan, names=["a"]), _told(names=("a",), rate=math.nan))
  processes.check_same(lambda: {"names": ("a",), "rate": math.nan})


def test_what_differs_is_told_with_all_who_have_it(say):
  say(_told(seed=7, steps=3, rate=1), _told(seed=0, steps=3), _told(seed=7, steps=3))
  with pytest.raises(ValueError) as caught:
    processes.check_same(lambda: {"seed": 0, "steps": 3}, "start all alike")
  assert str(caught.value) == (
    "the processes of this run differ: rate is absent on processes 0, 2, 3, 1 on "
    "process 1; seed is 0 on processes 0, 2, 7 on processes 1, 3; start all alike"
  )


def test_a_failure_elsewhere_is_told_here(say):
  say("", "OSError: disk full")
  with pytest.raises(ValueError, match="^process 2: OSError: disk full$"):
    processes.together(lambda: "fine")


def test_a_failure_here_is_told_elsewhere_and_raised(monkeypatch):
  told = []
  monkeypatch.setattr(processes, "gather", lambda message: [told.append(message)])
  with pytest.raises(ZeroDivisionError):
    processes.together(lambda: 1 // 0)
  assert told == ["ZeroDivisionError: integer division or modulo by zero"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_main_process_works_first(monkeypatch, number):
  done = []
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(jax, "process_index", lambda: number)
  monkeypatch.setattr(
    processes, "gather", lambda message: done.append("all met") or [message]
  )
  assert processes.main_first(lambda: done.append("worked") or "result") == "result"
  meeting = ["worked", "all met", "all met"] if number == 0 else None
  assert done == (meeting or ["all met", "worked", "all met"])
